"""Maps as pictures: colours, overlays, and labelled rows of pictures."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from salvit.errors import InvalidValueError

COLORMAP = "inferno"
_MARGIN, _LABEL_HEIGHT = 6, 22
_AT_A_TIME = 2**20  # pixels


def heat(saliency: Tensor) -> Image.Image:
    """Colour a saliency map [H, W], from its minimum (dark) to its maximum (bright), as an RGB picture."""
    return _drawn(saliency, "RGB", _heat)


def grey(saliency: Tensor) -> Image.Image:
    """An 8-bit grey picture of a map [H, W], min-max scaled. It is for viewing: scores come from the float map."""
    return _drawn(saliency, "L", _bytes)


def photo(image: Tensor) -> Image.Image:
    """A picture of an image [3, H, W] in [0, 1]."""
    array = image.detach().cpu().clamp(0, 1).movedim(0, -1).numpy()
    return Image.fromarray((array * 255 + 0.5).astype(np.uint8))


def overlay(image: Tensor, saliency: Tensor, strength: float = 0.75) -> Image.Image:
    """Lay a map over its image: salient places in colour, the rest in dimmed grey.

    Args:
        image: [3, h, w] in [0, 1]; resized to the map.
        saliency: [H, W] on any scale.
        strength: share of the colour where saliency is highest, 0 … 1.

    Returns:
        An RGB picture of W×H pixels.
    """
    height, width = saliency.shape
    small = photo(image).convert("L").point(lambda value: value * 0.8)
    base = small.resize((width, height), Image.Resampling.BILINEAR)

    def laid_over(values: NDArray[np.float32], top: int) -> Image.Image:
        below = base.crop((0, top, width, top + len(values))).convert("RGB")
        return Image.composite(_heat(values), below, _bytes(values**0.7 * strength))

    return _drawn(saliency, "RGB", laid_over)


def row(pictures: Sequence[Image.Image], height: int = 160) -> Image.Image:
    """Pictures side by side, each scaled to a height in pixels."""
    scaled = [
        picture.convert("RGB").resize(
            (max(1, picture.width * height // picture.height), height), Image.Resampling.BICUBIC
        )
        for picture in pictures
    ]
    canvas = Image.new("RGB", (sum(p.width + _MARGIN for p in scaled) - _MARGIN, height), "white")
    x = 0
    for picture in scaled:
        canvas.paste(picture, (x, 0))
        x += picture.width + _MARGIN
    return canvas


def panel(rows: Sequence[Sequence[Image.Image]], labels: Sequence[str], height: int = 160) -> Image.Image:
    """Rows of pictures, each `height` pixels high, under one line of labels, one per column.

    Raises:
        ValueError: There is no row, or one that is not as long as `labels`.
    """
    if not rows or any(len(one) != len(labels) for one in rows):
        raise InvalidValueError(
            f"a panel needs rows of {len(labels)} pictures; got {[len(one) for one in rows]}"
        )
    strips = [row(one, height) for one in rows]
    size = max(strip.width for strip in strips), _LABEL_HEIGHT + len(strips) * (height + _MARGIN)
    canvas = Image.new("RGB", size, "white")
    for index, strip in enumerate(strips):
        canvas.paste(strip, (0, _LABEL_HEIGHT + index * (height + _MARGIN)))
    draw, x = ImageDraw.Draw(canvas), 0
    for label, picture in zip(labels, rows[0], strict=True):
        draw.text((x + 2, 2), label, fill="black", font=label_font())
        x += max(1, picture.width * height // picture.height) + _MARGIN
    return canvas


@cache
def label_font() -> ImageFont.FreeTypeFont:
    """The font of labels, matplotlib's DejaVu Sans: Pillow's own font has only ASCII."""
    return ImageFont.truetype(str(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")), 13)


def robust(saliency: Tensor, percentile: float = 99) -> Tensor:
    """A map without the few extreme values that make all the rest look dark.

    If the maximum is more than twice the percentile, values are cut off at the percentile; a percentile that is not
    positive leaves the map as it is. Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017,
    section 3.1.

    Args:
        saliency: [H, W].
        percentile: percentile of the values.

    Example:
        >>> import torch
        >>> robust(torch.tensor([[1.0, 2.0, 3.0, 90.0]]), percentile=50)
        tensor([[1.0000, 2.0000, 2.5000, 2.5000]])
    """
    values = saliency.detach().float().cpu().numpy()
    limit = float(np.percentile(values, percentile))
    return saliency.clamp(max=limit) if 0 < limit < values.max() / 2 else saliency


def _drawn(
    saliency: Tensor, mode: str, draw: Callable[[NDArray[np.float32], int], Image.Image]
) -> Image.Image:
    """Draw a map [H, W] some rows at a time, as colours take many times the memory of the picture.

    Args:
        saliency: the map.
        mode: Pillow's mode of the picture.
        draw: makes a part of it from values in [0, 1], min-max scaled (0 if the map is constant), and its first row.
    """
    height, width = saliency.shape
    picture = Image.new(mode, (width, height))
    low, high = (float(value) for value in saliency.detach().float().aminmax())
    rows = max(1, _AT_A_TIME // width)
    for top in range(0, height, rows):
        values = saliency[top : top + rows].detach().float().cpu().numpy()
        unit = (values - low) / ((high - low) or 1)
        picture.paste(draw(unit.astype(np.float32), top), (0, top))
    return picture


def _bytes(values: NDArray[np.float32], top: int = 0) -> Image.Image:
    return Image.fromarray((values * 255 + 0.5).astype(np.uint8))


def _heat(values: NDArray[np.float32], top: int = 0) -> Image.Image:
    return Image.fromarray((colormaps[COLORMAP](values)[..., :3] * 255 + 0.5).astype(np.uint8))
