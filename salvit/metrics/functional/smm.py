"""Saliency-map mask metric."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.boxes import check_count
from salvit.metrics.functional.heatmaps import check_heatmaps, normalized
from salvit.metrics.functional.masks import bool_mask


def smm(heatmaps: Tensor, masks: Sequence[Tensor | None], threshold: float = 0.5) -> Tensor:
    r"""Overlap of the thresholded heatmap with an instance mask, per image.

    .. math:: \mathrm{SMM} = \frac{|P \cap G|}{|P \cup G|}

    with P the pixels whose heatmap, brought to the mask's size (bilinear) and to [0, 1], is above the
    threshold. Source: Agrawal, Dayton and Dauber, "Visualizing attention in Vision Transformers" (poster),
    which says overlap from 0 to 1 and gives no formula; intersection over union is 1 only where both agree.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        masks: B masks [H, W] of the object, positive inside; None for an image without one.
        threshold: in [0, 1).

    Returns:
        float64 [B] in [0, 1], on the CPU; 0 for a constant heatmap, NaN for an image without a mask or whose
        mask is empty or heatmap is not finite.

    Raises:
        ValueError: A shape does not fit, or the threshold is out of range.

    Example:
        >>> smm(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), [torch.tensor([[0, 1], [0, 0]])])
        tensor([0.5000], dtype=torch.float64)
    """
    if not 0 <= threshold < 1:
        raise InvalidValueError(
            f"threshold is {threshold}; expected a value in [0, 1), above which a pixel counts"
        )
    maps = check_heatmaps(heatmaps)
    check_count(masks, maps, "masks")
    scores = [
        _overlap(heatmap, bool_mask(mask, image), threshold)
        for image, (heatmap, mask) in enumerate(zip(maps, masks, strict=True))
    ]
    return torch.tensor(scores, dtype=torch.float64)


def _overlap(heatmap: Tensor, mask: Tensor | None, threshold: float) -> float:
    if mask is None or not mask.any():
        return torch.nan
    values = normalized(heatmap[None], (mask.shape[0], mask.shape[1]))[0]
    if values[0, 0].isnan():
        return torch.nan
    attended = values > threshold
    return float((attended & mask).sum() / (attended | mask).sum())
