"""Heatmaps of any size on the input's pixel grid."""

import torch
from torch import Tensor
from torch.nn import functional as F

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.maps import minmax_normalize


def check_heatmaps(heatmaps: Tensor) -> Tensor:
    """Return a batch of heatmaps, or say what is wrong with its shape.

    Args:
        heatmaps: [B, h, w], any real dtype.

    Returns:
        The same values, detached; float32, or float64 if they were.

    Raises:
        ValueError: The shape is not [B, h, w] with h, w ≥ 1.

    Example:
        >>> check_heatmaps(torch.zeros(2, 14, 14, dtype=torch.float16)).dtype
        torch.float32
    """
    if heatmaps.ndim != 3 or 0 in heatmaps.shape[1:]:
        raise InvalidValueError(
            f"heatmaps have shape {tuple(heatmaps.shape)}; expected [B, h, w]: of an extractor's maps "
            "[B, K, h, w] pass one channel, maps[:, 0]"
        )
    return heatmaps.detach().to(torch.promote_types(heatmaps.dtype, torch.float32))


def finite_heatmaps(heatmaps: Tensor) -> Tensor:
    """Which heatmaps can be scored: those without NaN or infinity.

    Args:
        heatmaps: [B, h, w].

    Returns:
        Bool [B].

    Example:
        >>> finite_heatmaps(torch.tensor([[[0.0, 1.0]], [[0.0, torch.nan]]]))
        tensor([ True, False])
    """
    return heatmaps.isfinite().flatten(1).all(1)


def constant_heatmaps(heatmaps: Tensor) -> Tensor:
    """Which heatmaps hold the same finite value everywhere.

    Args:
        heatmaps: [B, h, w].

    Returns:
        Bool [B].

    Example:
        >>> constant_heatmaps(torch.tensor([[[0.0, 1.0]], [[2.0, 2.0]], [[torch.nan, torch.nan]]]))
        tensor([False,  True, False])
    """
    flat = heatmaps.flatten(1)
    return (flat == flat[:, :1]).all(1)


def upsampled(heatmaps: Tensor, size: Size) -> Tensor:
    """Bring heatmaps to the input's size.

    Args:
        heatmaps: [B, h, w] floats.
        size: (H, W) of the input in pixels.

    Returns:
        [B, H, W]; bilinear, pixel centres at integers (align_corners=False). A constant map stays exactly
        constant.

    Example:
        >>> upsampled(torch.tensor([[[0.0, 1.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    if tuple(heatmaps.shape[1:]) == tuple(size):
        return heatmaps
    resized = F.interpolate(heatmaps[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]
    # The weights of a pixel sum to 1 but for rounding, which min-max would blow up to a full-range map.
    constant = constant_heatmaps(heatmaps)[:, None, None]
    return torch.where(constant, heatmaps[:, :1, :1], resized)


def normalized(heatmaps: Tensor, size: Size) -> Tensor:
    """Heatmaps at the input's size, each brought to [0, 1].

    Args:
        heatmaps: [B, h, w] on any scale.
        size: (H, W) of the input in pixels.

    Returns:
        float64 [B, H, W] on the CPU, rounded to nine digits; 0 everywhere for a constant heatmap, NaN for one
        that is not finite.

    Raises:
        ValueError: The shape is not [B, h, w].

    Example:
        >>> normalized(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]]), (1, 4))
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]],
        <BLANKLINE>
                [[0.0000, 0.0000, 0.0000, 0.0000]]], dtype=torch.float64)
    """
    maps = upsampled(check_heatmaps(heatmaps).cpu().double(), size)
    # Interpolation leaves rounding errors on a plateau, which a threshold at its level would make peaks of.
    scaled = minmax_normalize(maps.flatten(1)).round(decimals=9).unflatten(1, tuple(size))
    return torch.where(finite_heatmaps(heatmaps).cpu()[:, None, None], scaled, torch.nan)
