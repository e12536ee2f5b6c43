"""Correlation coefficient."""

import torch
from torch import Tensor

from salvit.metrics.functional.maps import check_map_pair, minmax_normalize


def cc(pred: Tensor, density: Tensor) -> Tensor:
    r"""Pearson correlation of prediction and ground-truth density over the pixels of each image.

    .. math:: \mathrm{CC} = \frac{\mathrm{cov}(S, G)}{\mathrm{std}(S)\,\mathrm{std}(G)}

    Source: Bylinskii et al., "What do different evaluation metrics tell us about saliency models?", TPAMI
    2019.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] ground truth on any scale.

    Returns:
        float64 [B] in [−1, 1]; 0 where either map is constant.

    Raises:
        ValueError: The shapes differ or are not [B, H, W], or a map is not finite.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0, 2.0]]])
        >>> cc(pred, torch.tensor([[[1.0, 0.0, 0.0]]])).round(decimals=4)
        tensor([-0.8660], dtype=torch.float64)
    """
    s, g = (_centered(minmax_normalize(maps)) for maps in check_map_pair(pred, density))
    product = s.norm(dim=1) * g.norm(dim=1)
    correlation = (s * g).sum(1) / torch.where(product > 0, product, 1)
    return correlation.clamp(-1, 1)


def _centered(maps: Tensor) -> Tensor:
    return maps - maps.mean(1, keepdim=True)
