"""Areas under ROC curves: fixations against other pixels of their image.

Ranks are found on the CPU by NumPy, whose sort is 5 to 20 times faster than torch's there and the same on every
device.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.metrics.functional.fixations import check_sampling, generator, image_key, maps_and_indices
from salvit.metrics.functional.maps import minmax_normalize

JITTER = 1e-7
"""Largest amount by which ties are broken, of a map in [0, 1]."""


def auc(pred: Tensor, fixations: Sequence[Tensor]) -> Tensor:
    r"""Exact AUC of each image: the chance that a fixation outranks a random pixel.

    .. math:: \mathrm{AUC} = \frac{1}{n H W} \sum_{i=1}^{n} \sum_{j=1}^{HW} [S_i > S_j] + \tfrac12 [S_i = S_j]

    All pixels are negatives, also fixated ones, and repeated fixations count repeatedly, as in pysaliency's AUC with
    uniform non-fixations.

    Args:
        pred: [B, H, W] saliency maps; only their order matters.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map, NaN for an image without fixations.

    Raises:
        ValueError: A shape is wrong, a map is not finite, or a fixation lies outside its map.

    Example:
        >>> auc(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[1.0, 1.0]])])
        tensor([0.8750], dtype=torch.float64)
    """
    maps, indices = maps_and_indices(pred, fixations)
    rows = zip(rankable(maps), indices, strict=True)
    scores = [mann_whitney_auc(values[index.numpy()], values) for values, index in rows]
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def auc_borji(
    pred: Tensor, fixations: Sequence[Tensor], splits: int = 100, step: float = 0.1, seed: int = 0
) -> Tensor:
    """AUC-Borji of each image: fixated pixels against as many random pixels, at steps of the threshold.

    The map is brought to [0, 1]. Each split draws as many pixels as are fixated, uniformly with replacement; the score
    is the mean area over the splits. A pixel fixated twice counts once. Source: the MIT saliency benchmark's
    AUC_Borji.m; Borji et al., "Quantitative analysis of human-model agreement in visual saliency modeling", IEEE TIP
    2013.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        splits: number of draws.
        step: between thresholds, of a map in [0, 1].
        seed: seed of the draws, which also depend on the image, not on its batch.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map (the script gives NaN), NaN for an image with fewer than two
        fixated pixels, as in the script.

    Raises:
        ValueError: A shape is wrong, a map is not finite, a fixation lies outside its map, or `splits`, `step` or
            `seed` is out of range.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> auc_borji(pred, [torch.tensor([[1.0, 1.0], [0.0, 1.0]])]).round(decimals=2)
        tensor([0.7400], dtype=torch.float64)
    """
    check_sampling(splits, step)
    maps, indices = maps_and_indices(pred, fixations)
    scores = []
    for values, index in zip(unit_rows(maps), indices, strict=True):
        random = generator(seed, image_key(index.numpy(), (maps.shape[1], maps.shape[2])))
        fixated = np.unique(index.numpy())
        drawn = random.integers(len(values), size=(splits, len(fixated)))
        scores.append(stepped_auc(values[fixated], values[drawn], step) if len(fixated) > 1 else np.nan)
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def auc_judd(pred: Tensor, fixations: Sequence[Tensor], jitter: bool = True, seed: int = 0) -> Tensor:
    r"""AUC-Judd of each image: fixated pixels against all others, with a threshold at each fixated pixel.

    .. math:: \mathrm{TP}_k = \frac{k}{n}, \quad
              \mathrm{FP}_k = \frac{|\{j : S_j \ge t_k\}| - k}{HW - n}, \quad t_1 \ge t_2 \ge \dots \ge t_n

    where t are the values at the n fixated pixels; the area is the sum of the trapezia between these points, (0, 0) and
    (1, 1). A pixel fixated twice counts once, and fixated pixels are no negatives. Uniform noise of up to 1e-7 breaks
    ties. Source: the MIT saliency benchmark's AUC_Judd.m; Judd et al., "Learning to predict where humans look", ICCV
    2009.

    Args:
        pred: [B, H, W] saliency maps on any scale; brought to [0, 1] before the noise.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        jitter: Whether to break ties. Without it tied pixels are all above the threshold, and FP of a constant map
            exceeds 1, as in the script.
        seed: seed of the noise, which also depends on the image, not on its batch.

    Returns:
        float64 [B], about 0.5 for a constant map, NaN for an image without fixations or fixated everywhere.

    Raises:
        ValueError: A shape is wrong, a map is not finite, a fixation lies outside its map, or the seed is negative.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> auc_judd(pred, [torch.tensor([[1.0, 1.0], [1.0, 0.0]])])
        tensor([0.8750], dtype=torch.float64)
    """
    maps, indices = maps_and_indices(pred, fixations)
    scores = []
    for values, index in zip(unit_rows(maps), indices, strict=True):
        if jitter:
            random = generator(seed, image_key(index.numpy(), (maps.shape[1], maps.shape[2])))
            values = values + JITTER * random.random(len(values))
        scores.append(_judd(values, np.unique(index.numpy())))
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _judd(values: np.ndarray, fixated: np.ndarray) -> float:
    others = len(values) - len(fixated)
    if len(fixated) == 0 or others == 0:
        return float("nan")
    limits = np.sort(values[fixated])[::-1]
    above = len(values) - np.searchsorted(np.sort(values), limits, "left")
    ranks = np.arange(1, len(fixated) + 1)
    return float(area((above - ranks) / others, ranks / len(fixated)))


def stepped_auc(positives: np.ndarray, negatives: np.ndarray, step: float) -> float:
    """Mean area under the ROC curves of the same positives [n] against several draws of negatives [splits, m].

    Values are in [0, 1]. Thresholds are 0, step, 2·step … up to the largest value of the curve.
    """
    tops = np.maximum(negatives.max(1), positives.max())
    areas = np.empty(len(negatives))
    # Curves with the same thresholds at once: mostly the largest value is a positive.
    for top in np.unique(tops):
        limits = thresholds(float(top), step)[::-1]
        hits = (positives >= limits[:, None]).mean(1)
        alarms = (negatives[tops == top, None] >= limits[:, None]).mean(2)
        areas[tops == top] = area(alarms, hits)
    return float(areas.mean())


def area(alarms: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Areas [...] under ROC curves by trapezia: false alarms [..., T] and hits [T], with (0, 0) and (1, 1) added."""
    widths = np.diff(alarms, axis=-1, prepend=0.0, append=1.0)
    heights = np.concatenate([[0.0], hits, [1.0]])
    return (widths * (heights[1:] + heights[:-1])).sum(-1) / 2


def thresholds(top: float, step: float) -> np.ndarray:
    """MATLAB's `0:step:top`, to the last digit: float64 [T], rising.

    MATLAB counts from both ends towards the middle, and takes `top` where a multiple of the step is within rounding of
    it. Digits matter: maps of 8 bits have values at exactly 0.6, and 6 · 0.1 is above that.
    """
    tolerance = 2 * np.finfo(float).eps * top
    count = round(top / step)
    if count * step - top > tolerance:
        count -= 1
    last = top if count * step - top > -tolerance else count * step
    steps = np.arange(count + 1)
    values = np.where(2 * steps <= count, steps * step, last - (count - steps) * step)
    if count % 2 == 0:
        values[count // 2] = last / 2
    return values


def unit_rows(maps: Tensor) -> np.ndarray:
    """Maps [B, H, W], each brought to [0, 1], as float64 [B, H·W] of NumPy."""
    return minmax_normalize(maps.double().flatten(1)).cpu().numpy()


def rankable(maps: Tensor) -> np.ndarray:
    """Maps [B, H, W] as [B, H·W] of NumPy, with the same order and ties: float32, or the input's dtype if wider."""
    narrow = maps.dtype in (torch.bfloat16, torch.float16)
    return (maps.float() if narrow else maps).flatten(1).cpu().numpy()


def mann_whitney_auc(positives: np.ndarray, negatives: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Chance that a positive outranks a negative, ties counting one half: the exact area under the ROC curve.

    Args:
        positives: [n] values.
        negatives: [m] values.
        counts: int64 [m], how often each negative counts; None for once each.

    Returns:
        The AUC in [0, 1], correctly rounded; NaN without positives or without negatives.

    Example:
        >>> mann_whitney_auc(np.array([1.0]), np.array([0.0, 2.0]), counts=np.array([3, 1]))
        0.75
    """
    if counts is None:
        ordered, below = np.sort(negatives), np.arange(len(negatives) + 1)
    else:
        order = np.argsort(negatives)
        ordered, below = negatives[order], np.concatenate([[0], np.cumsum(counts[order])])
    total = 2 * len(positives) * int(below[-1])
    if total == 0:
        return float("nan")
    wins = below[np.searchsorted(ordered, positives, "left")].sum()
    wins_and_ties = below[np.searchsorted(ordered, positives, "right")].sum()
    return float((int(wins) + int(wins_and_ties)) / total)


def float32_order(values: Tensor) -> Tensor:
    """Values, flattened, in float32 with the same order and ties; at most 2²⁴ values.

    They are the values themselves where float32 holds them, else the rank of each among the distinct ones.
    """
    flat = values.flatten()
    single = flat.float()
    return single if torch.equal(single.to(flat.dtype), flat) else flat.unique(return_inverse=True)[1].float()
