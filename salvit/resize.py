"""Antialiased resizing, also to a width of one pixel."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def resize_antialiased(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize, bilinear between pixel centres, every pixel counting where it shrinks.

    Args:
        maps: float or uint8 [B, C, H, W]; bytes are rounded to bytes.
        size: (height, width) in pixels.

    Returns:
        [B, C, height, width].

    Example:
        >>> import torch
        >>> resize_antialiased(torch.tensor([[[[0.0, 0.0], [4.0, 4.0]]]]), (4, 1)).flatten()
        tensor([0., 1., 3., 4.])
    """
    height, width = size
    if height > width == 1:
        # torch's kernel for CPUs gives every row of such an output the value of the first; not so every column.
        return resize_antialiased(maps.mT, (1, height)).mT
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False, antialias=True)
