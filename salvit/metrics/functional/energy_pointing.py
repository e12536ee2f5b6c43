"""Energy-based pointing game."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.metrics.functional.boxes import check_count
from salvit.metrics.functional.heatmaps import check_heatmaps, finite_heatmaps, upsampled
from salvit.metrics.functional.masks import bool_mask


def energy_pointing(heatmaps: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
    r"""Share of a heatmap's positive energy that falls on the object, per image.

    .. math:: \frac{\sum_{i \in G} \max(S_i, 0)}{\sum_i \max(S_i, 0)}

    with the heatmap S brought to the mask's size (bilinear) and not rescaled otherwise, as a shift would
    change it. Source: Wang et al., "Score-CAM", CVPR workshops 2020, where G is the bounding box.

    Args:
        heatmaps: [B, h, w] on any grid.
        masks: B masks [H, W] of the object, positive inside (`box_masks` for boxes); None for an image
            without one.

    Returns:
        float64 [B] in [0, 1], on the CPU; 0 for a heatmap without positive values, NaN for an image without
        a mask or whose mask is empty or heatmap is not finite.

    Raises:
        ValueError: A shape does not fit.

    Example:
        >>> energy_pointing(torch.tensor([[[1.0, 3.0], [-5.0, 0.0]]]), [torch.tensor([[0, 1], [1, 0]])])
        tensor([0.7500], dtype=torch.float64)
    """
    maps = check_heatmaps(heatmaps).cpu().double()
    check_count(masks, maps, "masks")
    scores = [
        _share(heatmap, bool_mask(mask, image))
        for image, (heatmap, mask) in enumerate(zip(maps, masks, strict=True))
    ]
    scored = torch.tensor(scores, dtype=torch.float64)
    return torch.where(finite_heatmaps(maps), scored, torch.nan)


def _share(heatmap: Tensor, mask: Tensor | None) -> float:
    if mask is None or not mask.any():
        return torch.nan
    energy = upsampled(heatmap[None], (mask.shape[0], mask.shape[1]))[0].clamp(min=0)
    # By the peak first: the sum of very large values would overflow.
    energy = energy / peak if (peak := energy.max()) > 0 else energy
    total = energy.sum()
    return float(energy[mask].sum() / total) if total > 0 else 0.0
