"""Maps as pictures: colours, overlays, and labelled rows of pictures."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.resize import resize_antialiased

COLORMAP = "inferno"
_MARGIN, _LABEL_HEIGHT = 6, 22


def heat(saliency: Tensor) -> Image.Image:
    """Colour a saliency map [H, W], from its minimum (dark) to its maximum (bright), as an RGB picture."""
    return Image.fromarray((colormaps[COLORMAP](_unit(saliency))[..., :3] * 255 + 0.5).astype(np.uint8))


def grey(saliency: Tensor) -> Image.Image:
    """An 8-bit grey picture of a map, min-max scaled, for people: scores come from the float map."""
    return Image.fromarray((_unit(saliency) * 255 + 0.5).astype(np.uint8))


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
    picture = photo(resize_antialiased(image[None], saliency.shape[-2:])[0])
    base = picture.convert("L").point(lambda value: value * 0.8).convert("RGB")
    mask = Image.fromarray((_unit(saliency) ** 0.7 * strength * 255 + 0.5).astype(np.uint8))
    return Image.composite(heat(saliency), base, mask)


def row(pictures: Sequence[Image.Image], height: int = 160) -> Image.Image:
    """Pictures side by side at one height."""
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
        percentile: of the values.

    Example:
        >>> import torch
        >>> robust(torch.tensor([[1.0, 2.0, 3.0, 90.0]]), percentile=50)
        tensor([[1.0000, 2.0000, 2.5000, 2.5000]])
    """
    values = saliency.detach().float().cpu().numpy()
    limit = float(np.percentile(values, percentile))
    return saliency.clamp(max=limit) if 0 < limit < values.max() / 2 else saliency


def _unit(saliency: Tensor) -> NDArray[np.float32]:
    """Min-max scaled to [0, 1]; a constant map becomes 0."""
    values = saliency.detach().float().cpu().numpy()
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
