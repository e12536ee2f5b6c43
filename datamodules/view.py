"""How the whole of an image becomes the input of a ViT: one affine map for pixels, masks and boxes."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from datamodules.dataset import Size
from datamodules.images import to_tensor


class View(NamedTuple):
    """An image resized as a whole, of which a window is seen: x' = x · scaled width / native width − left.

    Attributes:
        native: (height, width) of the image.
        scaled: (height, width) that the whole image is resized to.
        corner: (top, left) of the window, in pixels of the resized image.
        size: (height, width) of the window.
    """

    native: Size
    scaled: Size
    corner: tuple[int, int]
    size: Size

    def image(self, image: Image.Image) -> Tensor:
        """Resize (antialiased bilinear) and cut an RGB image: float32 [3, H, W] in [0, 1]."""
        return self._cut(to_tensor(image, self.scaled))

    def mask(self, mask: NDArray[np.bool_]) -> Tensor:
        """Resize (nearest pixel centre) and cut a mask of the native size: float32 [H, W] in {0, 1}."""
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        return self._cut(F.interpolate(pixels, self.scaled, mode="nearest-exact")[0, 0])

    def boxes(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map boxes [n, 4] of (x0, y0, x1, y1) in native pixels; they may reach out of the window."""
        (top, left), (height, width) = self.corner, self.native
        scale = np.array([self.scaled[1] / width, self.scaled[0] / height])
        return edges * np.tile(scale, 2) - np.array([left, top, left, top])

    def _cut(self, tensor: Tensor) -> Tensor:
        (top, left), (height, width) = self.corner, self.size
        return tensor[..., top : top + height, left : left + width].contiguous()


Resize: TypeAlias = Callable[[Size, Size], View]
"""From an image's (height, width) and that of the input to how the one becomes the other."""


def squash(native: Size, size: Size) -> View:
    """Show the whole image, whatever happens to its proportions.

    Example:
        >>> squash((100, 200), (50, 50)).boxes(np.array([[20.0, 20.0, 100.0, 60.0]]))
        array([[ 5., 10., 25., 30.]])
    """
    return View(native, size, (0, 0), size)


def center_crop(native: Size, size: Size, crop_pct: float = 0.875) -> View:
    """Keep the proportions and show the middle, as timm's transform for evaluation does.

    The image is resized until it just covers (height, width) / ``crop_pct``, then cut around its centre.

    Args:
        native: (height, width) of the image.
        size: (height, width) of the result.
        crop_pct: share of the shorter side that is seen of a square input, in (0, 1].

    Example:
        >>> center_crop((100, 200), (84, 84))
        View(native=(100, 200), scaled=(96, 192), corner=(6, 54), size=(84, 84))
    """
    scaled = _covering(native, (math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct)))
    top, left = (round((whole - part) / 2) for whole, part in zip(scaled, size, strict=True))
    return View(native, scaled, (top, left), size)


def _covering(native: Size, least: Size) -> Size:
    """Smallest size of an image's proportions that covers another; sides are rounded as timm's are."""
    height, width = native
    if least[0] == least[1]:  # of a square, timm leaves it to torchvision, which cuts off
        side = least[0]
        return (side, side * width // height) if height <= width else (side * height // width, side)
    ratio = min(height / least[0], width / least[1])
    return round(height / ratio), round(width / ratio)
