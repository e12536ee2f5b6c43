"""AUC-Borji: the MIT benchmark's area under the ROC curve against random pixels."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.metrics.functional.draws import check_sampling, distinct, generator, image_key
from salvit.metrics.functional.fixations import fixation_indices
from salvit.metrics.functional.maps import check_maps, minmax_normalize
from salvit.metrics.functional.stepped_auc import stepped_auc


def auc_borji(
    pred: Tensor, fixations: Sequence[Tensor], splits: int = 100, step: float = 0.1, seed: int = 0
) -> Tensor:
    """AUC-Borji of each image: fixated pixels against as many random pixels, at steps of the threshold.

    The map is brought to [0, 1]. In each split as many pixels as are fixated are drawn uniformly with replacement,
    thresholds are 0, step, 2·step …, and the score is the mean area over the splits. A pixel fixated twice counts
    once. Source: the MIT saliency benchmark's AUC_Borji.m; Borji et al., "Quantitative analysis of human-model
    agreement in visual saliency modeling", IEEE TIP 2013.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        splits: number of draws.
        step: between thresholds, of a map in [0, 1].
        seed: of the draws, which also depend on the image (see `image_key`), not on its batch.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map (the script gives NaN), NaN for an image with fewer than two
        fixated pixels, as in the script.

    Raises:
        ValueError: A shape does not fit, a map is not finite, a fixation lies outside its map, or `splits`, `step`
            or `seed` is out of range.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> auc_borji(pred, [torch.tensor([[1.0, 1.0], [0.0, 1.0]])]).round(decimals=2)
        tensor([0.7400], dtype=torch.float64)
    """
    check_sampling(splits, step)
    maps = check_maps(pred, "pred")
    size = (maps.shape[1], maps.shape[2])
    rows = minmax_normalize(maps.double().flatten(1)).cpu().numpy()
    scores = []
    for values, index in zip(rows, fixation_indices(fixations, [size] * len(maps)), strict=True):
        random = generator(seed, image_key(index.numpy(), size))
        scores.append(_score(values, distinct(index.numpy()), splits, step, random))
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _score(
    values: np.ndarray, fixated: np.ndarray, splits: int, step: float, random: np.random.Generator
) -> float:
    if len(fixated) < 2:
        return float("nan")
    drawn = random.integers(len(values), size=(splits, len(fixated)))
    return stepped_auc(values[fixated], values[drawn], step)
