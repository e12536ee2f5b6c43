"""An image as the model takes it and as a person sees it, and a map at either's size."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from datamodules.base import CorruptFileError, Size, read_image, to_tensor
from salvit.explain.inputs import Input
from salvit.resize import resize_antialiased

LONGEST_SIDE = 1024
"""Of a picture, in pixels; a larger image is shown smaller."""


class Photo(NamedTuple):
    """An image that was read.

    Attributes:
        name: of its results.
        path: of its file.
        size: native (height, width).
        pixels: float32 [3, H, W] in [0, 1], squashed to the model's input size.
        shown: float32 [3, h, w] in [0, 1], at its own proportions, for pictures.
        sha256: of the file.
    """

    name: str
    path: Path
    size: Size
    pixels: Tensor
    shown: Tensor
    sha256: str


def read_photo(source: Input, size: Size) -> Photo:
    """Read an image file: RGB, upright, 16 bits scaled, transparency on white.

    Args:
        source: the file and its name.
        size: (height, width) of the model's input.

    Raises:
        CorruptFileError: if it cannot be read; the message begins with its path.
    """
    try:
        image = read_image(source.path)
    except CorruptFileError as error:
        cause = error.__cause__
        if cause is None:
            raise
        # Without the remedy of datasets, on_error='skip'.
        raise CorruptFileError(
            f"{source.path}: cannot read the image ({type(cause).__name__}: {cause})"
        ) from cause
    native = (image.height, image.width)
    return Photo(
        name=source.name,
        path=source.path,
        size=native,
        pixels=to_tensor(image, size),
        shown=to_tensor(image, picture_size(native)),
        sha256=file_hash(source.path),
    )


def file_hash(path: Path) -> str:
    """The SHA-256 of a file: 64 hexadecimal digits.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def picture_size(native: Size) -> Size:
    """The (height, width) at which an image is shown.

    Args:
        native: (height, width).

    Example:
        >>> picture_size((480, 640)), picture_size((3000, 6000))
        ((480, 640), (512, 1024))
    """
    shrink = min(1.0, LONGEST_SIDE / max(native))
    return max(1, round(native[0] * shrink)), max(1, round(native[1] * shrink))


def resized_map(saliency: Tensor, size: Size) -> Tensor:
    """Bring a map to a size, bilinear, antialiased where it shrinks; a constant map stays exactly constant.

    Args:
        saliency: [h, w].
        size: (height, width).

    Returns:
        [H, W].

    Example:
        >>> import torch
        >>> resized_map(torch.tensor([[0.0, 1.0]]), (1, 4))
        tensor([[0.0000, 0.2500, 0.7500, 1.0000]])
    """
    if saliency.min() == saliency.max():
        # Weights sum to 1 but for rounding, which the colours of an overlay would blow up to a full-range map.
        return saliency[:1, :1].expand(size).clone()
    return resize_antialiased(saliency[None, None], size)[0, 0]
