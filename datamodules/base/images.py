"""Image files as RGB, density maps and masks, with the same rules for size and pixels in every format."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    IMAGELENGTH,
    IMAGEWIDTH,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)
from torch import Tensor

from datamodules.base.dataset import CorruptFileError, Size
from salvit.resize import resize_antialiased

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""How pixels as stored become upright, by the orientation in EXIF, XMP or a TIFF's tag."""
_OPPOSITE = {6: 8, 8: 6}
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM", "JPEG2000")
_LARGE = 2**24
"""Pixels above which an image is decoded smaller, if it will be shrunk anyway."""


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; any error of a decoder becomes one error that names the file."""
    remedy = "or leave such images out with on_error='skip'."
    try:
        # Not by name: Pillow would map an uncompressed TIFF into memory, and swap the sides of a turned one.
        with path.open("rb") as file, Image.open(file) as image:
            _require_range(image, path)
            yield image
    except CorruptFileError:
        raise
    except UnidentifiedImageError as error:
        raise CorruptFileError(
            f"{path}: cannot read the image, as Pillow knows no such format: convert it to PNG or JPEG, {remedy}"
        ) from error
    # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError and more on damaged files.
    except Exception as error:
        raise CorruptFileError(
            f"{path}: cannot read the image ({type(error).__name__}: {error}): replace the file, {remedy}"
        ) from error


def _require_range(image: Image.Image, path: Path) -> None:
    """Refuse floats and 32-bit or signed integers: it is not defined which of their values is white."""
    if isinstance(image, TiffImageFile):
        unsigned = {1, 4}.issuperset(image.tag_v2.get(SAMPLEFORMAT, (1,)))
        is_defined = unsigned and image.mode not in ("I", "F")
    else:
        is_defined = image.mode[0] not in "IF" or (image.mode != "F" and image.format in _SIXTEEN_BIT_FORMATS)
    if not is_defined:
        raise CorruptFileError(
            f"{path}: pixels of mode {image.mode!r} in a file of format {image.format} have no defined white: "
            "save the image with 8 or 16 unsigned bits a channel."
        )


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _deep_grey(image: Image.Image) -> NDArray[np.float64]:
    """Values in [0, 1] from black to white of a 12-bit or 16-bit grey image, which Pillow leaves as stored."""
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        (bits,) = image.tag_v2[BITSPERSAMPLE]
        white_is_zero = image.tag_v2[PHOTOMETRIC_INTERPRETATION] == 0
    values = np.asarray(image, np.float64) / (2**bits - 1)
    return 1 - values if white_is_zero else values


def _rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """8-bit RGB, each side divided by a factor; reduced as early as possible, to save memory."""
    if image.mode[0] == "I":
        values = _deep_grey(image)
        if isinstance(transparent := image.info.get("transparency"), int):
            values[np.asarray(image) == transparent] = 1  # on white
        image = Image.fromarray(np.round(255 * values).astype(np.uint8))
    if image.has_transparency_data:
        image, factor = _reduced(image.convert("RGBA"), factor), 1
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode in ("L", "RGB", "CMYK"):
        image, factor = _reduced(image, factor), 1
    return _reduced(image.convert("RGB"), factor)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def read_image(path: Path, upright: bool = True, least: Size | None = None) -> Image.Image:
    """Read an image file of any format that Pillow reads as 8-bit RGB.

    Grey, palette, CMYK, 12-bit and 16-bit images are converted (scaled, not clipped); transparency is shown on
    white. Pillow's limit on the number of pixels, 179 million, stays on.

    Args:
        path: the image file.
        upright: apply the orientation in the file; boxes and masks refer to the pixels as stored.
        least: (height, width) that the caller shrinks the image to. An image of more than 16.8 million pixels is then
            returned smaller, by a whole factor, each side still twice as long as the longer one of these.

    Raises:
        CorruptFileError: if the file is missing, damaged, too large, not an image, or has floats or 32-bit or
            signed integers, for which white is not defined.
    """
    with _opened(path) as image:
        if least is None or image.width * image.height <= _LARGE:
            return _turned(image, upright)
        factor = _factor(image, least)
        image.draft(None, (image.width // factor, image.height // factor))  # which only JPEG has
        return _turned(image, upright, _factor(image, least))


def _factor(image: Image.Image, least: Size) -> int:
    return max(1, min(image.size) // (2 * max(least)))


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an opened image to upright 8-bit RGB, as :func:`read_image`.

    Raises:
        CorruptFileError: if white is not defined for its pixels.
    """
    _require_range(image, Path(getattr(image, "filename", "") or "the image"))
    return _turned(image, upright=True)


def _turned(image: Image.Image, upright: bool, factor: int = 1) -> Image.Image:
    orientation = _orientation(image)
    pixels = _rgb(image, factor)
    is_upright = _orientation(image) != orientation  # Pillow turns a TIFF as it loads it
    if upright == is_upright or orientation not in _TURNS:
        return pixels
    return pixels.transpose(_TURNS[orientation if upright else _OPPOSITE.get(orientation, orientation)])


def read_size(path: Path, upright: bool = True) -> Size:
    """Read from the header the (height, width) of what :func:`read_image` returns; the same errors."""
    with _opened(path) as image:
        height, width = image.height, image.width
        if isinstance(image, TiffImageFile):  # whose size Pillow has swapped already, in some versions
            height, width = image.tag_v2[IMAGELENGTH], image.tag_v2[IMAGEWIDTH]
        return (width, height) if upright and _orientation(image) in (5, 6, 7, 8) else (height, width)


def to_tensor(image: Image.Image, size: Size) -> Tensor:
    """Squash an 8-bit RGB image to (height, width): float32 [3, H, W] in [0, 1], antialiased bilinear, in 255 steps.

    Example:
        >>> to_tensor(Image.new("RGB", (64, 48), "red"), (2, 3))[:, 0, 0]
        tensor([1., 0., 0.])
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if tuple(pixels.shape[1:]) != size:
        # On bytes, channels last: 3 times as fast as Pillow's and 12 times as fast as in float; the result
        # is rounded to the 8-bit grid, within one level of the float one.
        pixels = resize_antialiased(pixels[None], size)[0]
    return pixels.contiguous().float().div_(255)


def read_density(path: Path) -> Tensor:
    """Read a density map, a grey image of 8, 12 or 16 bits: float32 [H, W], sums to 1; all zero if the map is.

    Raises:
        CorruptFileError: if the file is missing, damaged or not grey.
    """
    with _opened(path) as image:
        if image.mode != "L" and image.mode[0] != "I":
            raise CorruptFileError(f"{path}: a density map must be a grey image, not mode {image.mode!r}.")
        values = np.asarray(image, np.float64) if image.mode == "L" else _deep_grey(image)
    total = values.sum()
    return torch.from_numpy((values / total if total > 0 else values).astype(np.float32))


def read_mask(path: Path, size: Size, value: int) -> NDArray[np.bool_]:
    """Read which pixels have a grey level or palette index, bool [H, W], from an 8-bit grey or palette image.

    Raises:
        CorruptFileError: if the file is missing, damaged, of another kind or not of ``size``.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "LA", "P"):
            raise CorruptFileError(
                f"{path}: a mask must be an 8-bit grey or palette image, not mode {image.mode!r}."
            )
        values = np.asarray(image.getchannel(0))
    return _of_size(values, size, path) == value


def read_bright(path: Path, size: Size) -> NDArray[np.bool_]:
    """Read which pixels of an 8-bit black and white picture are white, bool [H, W]: luminance above 127.

    That threshold recovers even single white pixels from a JPEG of quality 75 or more. Alpha is ignored.

    Raises:
        CorruptFileError: if the file is missing, damaged, of another kind or not of ``size``.
    """
    with _opened(path) as image:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            raise CorruptFileError(f"{path}: expected a picture of 8 bits, not mode {image.mode!r}.")
        values = np.asarray(image.convert("RGB").convert("L"))
    return _of_size(values, size, path) > 127


def _of_size(values: NDArray[np.uint8], size: Size, path: Path) -> NDArray[np.uint8]:
    if values.shape != size:
        raise CorruptFileError(
            f"{path}: the mask is {values.shape[0]}×{values.shape[1]} but its image is {size[0]}×{size[1]} "
            "(height×width); they must agree."
        )
    return values
