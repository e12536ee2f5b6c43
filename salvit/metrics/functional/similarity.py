"""How alike two maps of one image are."""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from salvit.errors import InvalidValueError


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Spearman's rank correlation of the pixels of two maps, per image; equal pixels get their mean rank.

    Args:
        maps: [B, ...].
        others: in the same shape.

    Returns:
        float64 [B] in [−1, 1], on the CPU; 0 where only the other map is constant, since nothing is left of the order;
        NaN where the first map is constant, or one is not finite.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> rank_correlation(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.1, 0.2, 0.3]]))
        tensor([1.0000], dtype=torch.float64)
    """
    if maps.shape != others.shape:
        raise InvalidValueError(
            f"the maps have shapes {tuple(maps.shape)} and {tuple(others.shape)}; expected the same [B, ...]"
        )
    pair = [one.detach().cpu().double().flatten(1).numpy() for one in (maps, others)]
    first, second = (rankdata(rows, axis=1) for rows in pair)
    first, second = (ranks - ranks.mean(1, keepdims=True) for ranks in (first, second))
    lengths = [np.sqrt((ranks**2).sum(1)) for ranks in (first, second)]
    product = lengths[0] * lengths[1]
    correlations = (first * second).sum(1) / np.where(product > 0, product, 1)
    known = (lengths[0] > 0) & np.isfinite(pair[0]).all(1) & np.isfinite(pair[1]).all(1)
    return torch.from_numpy(np.where(known, correlations, np.nan))
