"""Heatmaps and masks on the pixel grid of the input."""

import torch
from torch import Tensor
from torch.nn import functional as F

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.maps import minmax_normalize


def check_heatmaps(heatmaps: Tensor) -> Tensor:
    """Return heatmaps detached, in float32 or float64; ValueError unless they are [B, h, w] with h, w ≥ 1."""
    if heatmaps.ndim != 3 or 0 in heatmaps.shape[1:]:
        raise InvalidValueError(
            f"heatmaps have shape {tuple(heatmaps.shape)}; expected [B, h, w]: of an extractor's maps "
            "[B, K, h, w] pass one channel, maps[:, 0]"
        )
    return heatmaps.detach().to(torch.promote_types(heatmaps.dtype, torch.float32))


def finite_heatmaps(heatmaps: Tensor) -> Tensor:
    """Which heatmaps [B, ...] have neither NaN nor infinity: bool [B]."""
    return heatmaps.isfinite().flatten(1).all(1)


def constant_heatmaps(heatmaps: Tensor) -> Tensor:
    """Which heatmaps [B, ...] hold the same finite value everywhere: bool [B]."""
    flat = heatmaps.flatten(1)
    return (flat == flat[:, :1]).all(1)


def upsampled(heatmaps: Tensor, size: Size) -> Tensor:
    """Bring heatmaps [B, h, w] to the size (H, W) of the input, bilinear; a constant map stays exactly constant.

    Example:
        >>> upsampled(torch.tensor([[[0.0, 1.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    if tuple(heatmaps.shape[1:]) == tuple(size):
        return heatmaps
    resized = F.interpolate(heatmaps[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]
    # The weights of a pixel sum to 1 except for rounding, which min-max scaling would turn into a map of full range.
    constant = constant_heatmaps(heatmaps)[:, None, None]
    return torch.where(constant, heatmaps[:, :1, :1], resized)


def normalized(heatmaps: Tensor, size: Size) -> Tensor:
    """Heatmaps [B, h, w] at the size (H, W) of the input, each brought to [0, 1].

    Returns:
        float64 [B, H, W] on the CPU, rounded to nine digits; 0 for a constant heatmap, NaN for one that is not finite.
    """
    maps = upsampled(check_heatmaps(heatmaps).cpu().double(), size)
    # Interpolation leaves rounding errors on a plateau: a threshold at its level would see peaks.
    scaled = minmax_normalize(maps.flatten(1)).round(decimals=9).unflatten(1, tuple(size))
    return torch.where(finite_heatmaps(heatmaps).cpu()[:, None, None], scaled, torch.nan)


def bool_mask(mask: Tensor | None, image: int) -> Tensor | None:
    """Return a mask as bool on the CPU, None as None; ValueError, naming the image, unless it is [H, W]."""
    if mask is None:
        return None
    if mask.ndim != 2 or 0 in mask.shape:
        raise InvalidValueError(
            f"mask of image {image} has shape {tuple(mask.shape)}; expected [H, W], or None for an image "
            "without one"
        )
    return mask.detach().cpu() > 0
