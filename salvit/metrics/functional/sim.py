"""Similarity, or histogram intersection."""

import torch
from torch import Tensor

from salvit.metrics.functional.maps import check_map_pair, minmax_normalize, sum_normalize


def sim(pred: Tensor, density: Tensor, minmax: bool = True) -> Tensor:
    r"""Histogram intersection of prediction and ground-truth density of each image.

    .. math:: \mathrm{SIM} = \sum_i \min(p_i, g_i)

    with both maps brought to [0, 1], then to sum 1 (as the MIT benchmark's MATLAB code). A constant or
    all-zero map is the uniform distribution. Source: Judd et al., "A benchmark of computational models of
    saliency to predict human fixations", MIT tech report 2012.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] ground truth on any scale.
        minmax: Whether to min-max the maps first; False is pysaliency's variant, which shifts only maps that
            go below 0.

    Returns:
        float64 [B] in [0, 1], 1 for equal distributions.

    Raises:
        ValueError: The shapes differ or are not [B, H, W], or a map is not finite.

    Example:
        >>> pred, density = torch.tensor([[[1.0, 2.0, 2.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]])
        >>> sim(pred, density)
        tensor([0.5000], dtype=torch.float64)
        >>> sim(pred, density, minmax=False)
        tensor([0.4000], dtype=torch.float64)
    """
    pair = check_map_pair(pred, density)
    p, g = (sum_normalize(minmax_normalize(maps) if minmax else maps) for maps in pair)
    return torch.minimum(p, g).sum(1)
