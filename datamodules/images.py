"""Image files of any kind as RGB tensors, and density maps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from datamodules.dataset import Size
from datamodules.errors import CorruptFileError
from salvit.resize import resize_antialiased

_EXIF_ORIENTATION = 0x0112
_QUARTER_TURNS = (5, 6, 7, 8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image file, with whatever a decoder raises on it turned into one error that names it."""
    try:
        with Image.open(path) as image:
            yield image
    except CorruptFileError:
        raise
    # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError and more on damaged files.
    except Exception as error:
        raise CorruptFileError(
            f"{path}: cannot read the image ({type(error).__name__}: {error}); "
            "replace the file, or leave such images out with on_error='skip'."
        ) from error


def _eight_bit(image: Image.Image, path: Path, file_format: str | None) -> Image.Image:
    """Grey image of more than 8 bits on the 8-bit scale: Pillow would clip it at 255."""
    values = np.asarray(image)
    # Of 32-bit integers 255 may be white or nearly black; Pillow opens 16 bits as such from PNG and PPM alone.
    wide = image.mode == "I" and file_format not in ("PNG", "PPM")
    if wide or image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise CorruptFileError(
            f"{path}: pixels of mode {image.mode!r} have no defined range; expected an image of 8 or 16 bits."
        )
    grey = np.round(values / 257).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        grey[values == transparent] = 255  # on white
    return Image.fromarray(grey)


def _rgb(image: Image.Image, path: Path, file_format: str | None) -> Image.Image:
    if image.mode[0] in "IF":
        image = _eight_bit(image, path, file_format)
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return image.convert("RGB")


def read_image(path: Path, upright: bool = True) -> Image.Image:
    """Read an image file as 8-bit RGB.

    Grey, palette, CMYK and 16-bit images are converted (16 bits to 8 by scaling, not clipping); transparency
    is composited on white, as viewers show it. Pillow's limit on the number of pixels stays on.

    Args:
        path: of any image file that Pillow reads.
        upright: apply an EXIF orientation; boxes and masks were made for the pixels as they are stored.

    Raises:
        CorruptFileError: if the file is missing, truncated, too large or no image; names its path.
    """
    with _opened(path) as image:
        return _rgb(ImageOps.exif_transpose(image) if upright else image, path, image.format)


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an opened image to upright 8-bit RGB, as :func:`read_image` does.

    Args:
        image: of any mode.

    Raises:
        CorruptFileError: if its pixels have no defined range.
    """
    return _rgb(ImageOps.exif_transpose(image), Path(getattr(image, "filename", "image")), image.format)


def read_size(path: Path, upright: bool = True) -> Size:
    """Read an image's (height, width) in pixels as :func:`read_image` gives it, from the file's header only.

    Raises:
        CorruptFileError: if the file is missing or its header is damaged; names its path.
    """
    with _opened(path) as image:
        turned = upright and image.getexif().get(_EXIF_ORIENTATION) in _QUARTER_TURNS
        return (image.width, image.height) if turned else (image.height, image.width)


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
        path: of a grey image of 8 or 16 bits.

    Returns:
        float32 [H, W], non-negative, sums to 1; all-zero if the map is.

    Raises:
        CorruptFileError: if the file is missing, damaged or not grey; names its path.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "I", "I;16", "I;16B"):
            raise CorruptFileError(f"{path}: a density map must be a grey image, not mode {image.mode!r}.")
        values = np.asarray(image, dtype=np.float64)
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
