"""The Mann–Whitney statistic that every AUC rests on.

Ranks are found on the CPU with NumPy, whose sort is vectorised: 5 to 20 times faster than torch's there,
quick enough beside a copy from a GPU, and the same on every device.
"""

import numpy as np
import torch
from torch import Tensor


def rankable(maps: Tensor) -> np.ndarray:
    """Map values as something NumPy can sort, in the same order and with the same ties.

    Args:
        maps: [B, H, W], any real dtype.

    Returns:
        [B, H·W] of float32, or of the input's dtype where float32 would create ties.

    Example:
        >>> rankable(torch.zeros(1, 2, 3, dtype=torch.bfloat16)).dtype
        dtype('float32')
    """
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
        >>> mann_whitney_auc(np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0]))
        0.75
        >>> mann_whitney_auc(np.array([1.0]), np.array([0.0, 2.0]), counts=np.array([3, 1]))
        0.75
    """
    ordered, below = _cumulative(negatives, counts)
    total = 2 * len(positives) * int(below[-1])
    if total == 0:
        return float("nan")
    wins = below[np.searchsorted(ordered, positives, "left")].sum()
    wins_and_ties = below[np.searchsorted(ordered, positives, "right")].sum()
    return float((int(wins) + int(wins_and_ties)) / total)


def _cumulative(values: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sorted values [m], and the number of negatives below each position [m + 1]."""
    if counts is None:
        return np.sort(values), np.arange(len(values) + 1)
    order = np.argsort(values)
    return values[order], np.concatenate([[0], np.cumsum(counts[order])])


def float32_order(values: Tensor) -> Tensor:
    """Values in float32 with the same order and the same ties, flattened.

    Args:
        values: A map of any shape and real dtype, with at most 2²⁴ pixels.

    Returns:
        float32 [n]: the values themselves where float32 holds them, else the rank of each among the distinct
        ones.

    Example:
        >>> float32_order(torch.tensor([0.5, 1.5]))
        tensor([0.5000, 1.5000])
        >>> float32_order(torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64))
        tensor([0., 1.])
    """
    flat = values.flatten()
    single = flat.float()
    return single if torch.equal(single.to(flat.dtype), flat) else flat.unique(return_inverse=True)[1].float()
