"""Image files of any kind as RGB, density maps and masks: one rule for the size and the pixels of every format."""

from collections.abc import Callable, Iterator
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


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image file, with whatever a decoder raises on it turned into one error that names it."""
    remedy = "or leave such images out with on_error='skip'."
    try:
        # Not by name: Pillow would map an uncompressed TIFF into memory, with the sides of a turned one swapped.
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
    """Refuse pixels of which nothing says what value is white: floats, 32-bit and signed integers."""
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
    """Values in [0, 1], from black to white, of a grey image of 12 or 16 bits, which Pillow leaves as stored."""
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        (bits,) = image.tag_v2[BITSPERSAMPLE]
        white_is_zero = image.tag_v2[PHOTOMETRIC_INTERPRETATION] == 0
    values = np.asarray(image, np.float64) / (2**bits - 1)
    return 1 - values if white_is_zero else values


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] == "I":
        values = _deep_grey(image)
        if isinstance(transparent := image.info.get("transparency"), int):
            values[np.asarray(image) == transparent] = 1  # on white
        image = Image.fromarray(np.round(255 * values).astype(np.uint8))
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return image.convert("RGB")


def read_image(path: Path, upright: bool = True) -> Image.Image:
    """Read an image file as 8-bit RGB.

    Grey, palette, CMYK, 12-bit and 16-bit images are converted (scaled to 8 bits, not clipped); transparency is
    composited on white, as viewers show it. Pillow's limit on the number of pixels stays on.

    Args:
        path: of any image file that Pillow reads.
        upright: apply the orientation that the file gives; boxes and masks were made for the pixels as stored.

    Raises:
        CorruptFileError: if the file is missing, truncated, too large, no image, or of floats or of 32-bit or
            signed integers, which have no defined white; names its path.
    """
    with _opened(path) as image:
        return _turned(image, upright)


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an opened image to upright 8-bit RGB, as :func:`read_image` does.

    Args:
        image: of any mode.

    Raises:
        CorruptFileError: if its pixels have no defined range.
    """
    _require_range(image, Path(getattr(image, "filename", "") or "the image"))
    return _turned(image, upright=True)


def _turned(image: Image.Image, upright: bool) -> Image.Image:
    orientation = _orientation(image)
    pixels = _rgb(image)
    is_upright = _orientation(image) != orientation  # Pillow turns a TIFF as it loads it
    if upright == is_upright or orientation not in _TURNS:
        return pixels
    return pixels.transpose(_TURNS[orientation if upright else _OPPOSITE.get(orientation, orientation)])


def read_size(path: Path, upright: bool = True) -> Size:
    """Read an image's (height, width) in pixels as :func:`read_image` gives it, from the file's header only.

    Raises:
        CorruptFileError: as :func:`read_image`, for what the header shows.
    """
    with _opened(path) as image:
        height, width = image.height, image.width
        if isinstance(image, TiffImageFile):  # whose size Pillow has swapped already, in some versions
            height, width = image.tag_v2[IMAGELENGTH], image.tag_v2[IMAGEWIDTH]
        return (width, height) if upright and _orientation(image) in (5, 6, 7, 8) else (height, width)


def to_tensor(image: Image.Image, size: Size) -> Tensor:
    """Squash an RGB image to a size (antialiased bilinear).

    Args:
        image: 8-bit RGB.
        size: (height, width) of the result.

    Returns:
        float32 [3, H, W] in [0, 1], on the 8-bit grid.

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
    """Read a grey density map (a SALICON ``maps/*.png``) as a distribution.

    Args:
        path: of a grey image of 8, 12 or 16 bits.

    Returns:
        float32 [H, W], non-negative, sums to 1; all-zero if the map is.

    Raises:
        CorruptFileError: if the file is missing, damaged or not grey; names its path.
    """
    with _opened(path) as image:
        if image.mode != "L" and image.mode[0] != "I":
            raise CorruptFileError(f"{path}: a density map must be a grey image, not mode {image.mode!r}.")
        values = np.asarray(image, np.float64) if image.mode == "L" else _deep_grey(image)
    total = values.sum()
    return torch.from_numpy((values / total if total > 0 else values).astype(np.float32))


def read_mask(
    path: Path, size: Size, shown: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Read which pixels of an image show an object.

    Args:
        path: of an 8-bit grey or palette image.
        size: (height, width) that the mask must have, its image's.
        shown: from the grey levels or palette indices to whether the pixel shows the object.

    Returns:
        [H, W].

    Raises:
        CorruptFileError: if the file is missing, damaged, of another kind or of another size; names its path.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "LA", "P"):
            raise CorruptFileError(
                f"{path}: a mask must be an 8-bit grey or palette image, not mode {image.mode!r}."
            )
        values = np.asarray(image.getchannel(0))
    return shown(_of_size(values, size, path))


def read_bright(path: Path, size: Size) -> NDArray[np.bool_]:
    """Read which pixels of a black and white picture are white: those whose luminance is above 127.

    The pictures may be JPEG, which blurs black and white, and RGB or RGBA, whose alpha says nothing. The middle
    of the range brings even single white pixels back from a JPEG of quality 75 or more.

    Args:
        path: of an image of 8 bits.
        size: (height, width) that it must have, its stimulus'.

    Returns:
        [H, W].

    Raises:
        CorruptFileError: if the file is missing, damaged, of another kind or of another size; names its path.
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
