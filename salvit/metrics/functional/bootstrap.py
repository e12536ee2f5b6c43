"""Confidence intervals of means over images, and of their differences, by `scipy.stats.bootstrap`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from salvit.errors import InvalidValueError


def bootstrap_interval(
    scores: Tensor, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean: how far it would move with other images of the same kind.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.

    Args:
        scores: [n], one per image (`metric.per_image()`); NaN, an image that was skipped, is left out.
        confidence: in (0, 1).
        resamples: number of resampled sets of images.
        seed: seed of the resampling.

    Returns:
        Lower and upper end; NaN with fewer than two images.

    Raises:
        ValueError: The scores are not one per image.

    Example:
        >>> low, high = bootstrap_interval(torch.linspace(0, 1, 101))
        >>> round(low, 2), round(high, 2)
        (0.44, 0.56)
    """
    if scores.ndim != 1:
        raise InvalidValueError(f"scores have shape {tuple(scores.shape)}; expected [n], one per image")
    values = scores.detach().cpu().double().numpy()
    # Sorted, so that the order in which processes are gathered does not show.
    values = np.sort(values[~np.isnan(values)])
    if len(values) < 2:
        return float("nan"), float("nan")
    low, high = _interval(values, np.mean, confidence, resamples, seed)
    return float(low), float(high)


def bootstrap_differences(
    scores: Tensor, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Differences between methods that were scored on the same images, with percentile bootstrap intervals.

    All methods are compared on the same resampled images, so what makes an image easy or hard for all of them does not
    widen the interval. Source: Efron and Tibshirani, 1993; paired as in Koehn, "Statistical Significance Tests for
    Machine Translation Evaluation", EMNLP 2004.

    Args:
        scores: [m, n], of m methods on n images; an image that was skipped for one of them, NaN, is left out.
        confidence: in (0, 1).
        resamples: number of resampled sets of images.
        seed: seed of the resampling.

    Returns:
        Three float64 tensors [m, m]: the mean of method i minus the mean of method j, and the lower and upper end of
        its interval; the ends are NaN with fewer than two images.

    Raises:
        ValueError: The scores are not one per method and image.

    Example:
        >>> hard = torch.linspace(0, 1, 101)
        >>> means, low, high = bootstrap_differences(torch.stack([hard + 0.1, hard]))
        >>> [round(float(part[0, 1]), 3) for part in (means, low, high)]
        [0.1, 0.1, 0.1]
    """
    if scores.ndim != 2:
        raise InvalidValueError(
            f"scores have shape {tuple(scores.shape)}; expected [m, n], one per method and image"
        )
    values = scores.detach().cpu().double().numpy()
    values = values[:, ~np.isnan(values).any(axis=0)]
    methods, images = values.shape
    means = values.mean(axis=1) if images else np.full(methods, np.nan)
    low = high = np.full((methods, methods), np.nan)

    def differences(indices: np.ndarray, axis: int = -1) -> np.ndarray:
        resampled = values[:, indices].mean(axis=axis)
        return resampled[:, None] - resampled

    if images > 1:
        low, high = _interval(np.arange(images), differences, confidence, resamples, seed)
    return torch.from_numpy(means[:, None] - means), torch.from_numpy(low), torch.from_numpy(high)


def _interval(
    values: np.ndarray, statistic: Callable[..., Any], confidence: float, resamples: int, seed: int
) -> tuple[Any, Any]:
    found = stats.bootstrap(
        (values,),
        statistic,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        batch=10,  # resamples at once: all of a large set would take gigabytes
        random_state=np.random.default_rng(seed),
    )
    return found.confidence_interval.low, found.confidence_interval.high
