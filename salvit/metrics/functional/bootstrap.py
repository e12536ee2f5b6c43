"""Confidence intervals of a mean over images."""

import numpy as np
from torch import Tensor


def bootstrap_interval(
    scores: Tensor, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean: how far it would move with other images of the same kind.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.

    Args:
        scores: [n], one per image (`metric.per_image()`); NaN, an image that was skipped, is left out.
        confidence: in (0, 1).
        resamples: number of resampled sets of images.
        seed: of the resampling.

    Returns:
        Lower and upper end; NaN with fewer than two images.

    Raises:
        ValueError: The scores are not one per image.

    Example:
        >>> import torch
        >>> low, high = bootstrap_interval(torch.linspace(0, 1, 101))
        >>> round(low, 2), round(high, 2)
        (0.44, 0.56)
    """
    if scores.ndim != 1:
        raise ValueError(f"scores have shape {tuple(scores.shape)}; expected [n], one per image")
    values = scores.detach().cpu().double().numpy()
    # Sorted, so that the order in which processes are gathered does not show.
    values = np.sort(values[~np.isnan(values)])
    if len(values) < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    # One by one: all resamples of a large set at once would take gigabytes.
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
