"""One rule for the pixels and the size of every format, bit depth, kind of pixels and orientation."""

import numpy as np
import pytest
from PIL import Image, features

from datamodules.base import CorruptFileError, read_density, read_image, read_size
from tests.datamodules.data.formats import AS_STORED, TURNED, TURNS, tiff_grey, write_tiff

LEVELS = np.repeat(np.repeat(np.arange(24).reshape(4, 6) / 23, 8, axis=0), 8, axis=1)[:, :-4]
"""Of each part of the picture, in [0, 1]; of no symmetry, and 32×44, so that rows and columns are told apart."""


def write(folder, kind, orientation):
    suffix, writer, tolerance = {**TURNED, **AS_STORED}[kind]
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow does not write AVIF")
    path = folder / f"image.{suffix}"
    return path, writer(path, LEVELS, orientation), tolerance


def far(image, pixels):
    return np.abs(np.asarray(image).astype(int) - pixels).max()


@pytest.mark.parametrize(
    ("kind", "orientation"),
    [(kind, orientation) for kind in TURNED for orientation in TURNS] + [(kind, 1) for kind in AS_STORED],
)
def test_pixels_and_size(tmp_path, kind, orientation):
    path, stored, tolerance = write(tmp_path, kind, orientation)
    upright = TURNS[orientation](stored)
    image = read_image(path)
    assert image.mode == "RGB"
    assert read_size(path) == (image.height, image.width) == upright.shape[:2]
    assert far(image, upright) <= tolerance
    raw = read_image(path, upright=False)
    assert read_size(path, upright=False) == (raw.height, raw.width) == stored.shape[:2]
    assert far(raw, stored) <= tolerance


@pytest.mark.parametrize(
    ("bits", "photometric", "sample_format"),
    [(12, 0, 1), (8, 1, 2), (16, 1, 2), (32, 1, 1), (32, 1, 2), (32, 1, 3)],
    ids=["12 WhiteIsZero", "signed 8", "signed 16", "32", "signed 32", "float"],
)
def test_tiffs_that_cannot_be_read_correctly_are_refused(tmp_path, bits, photometric, sample_format):
    path = tmp_path / "image.tif"
    write_tiff(path, np.arange(24).reshape(4, 6), bits, photometric, sample_format=sample_format)
    for read in (read_image, read_size, read_density):
        with pytest.raises(CorruptFileError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_a_density_of_16_bits(tmp_path, white_is_zero):
    tiff_grey(16, white_is_zero)(tmp_path / "map.tif", LEVELS, 1)
    assert np.allclose(read_density(tmp_path / "map.tif"), LEVELS / LEVELS.sum(), atol=1e-7)


def test_pixels_without_a_defined_white_and_formats_that_pillow_does_not_know_are_refused(tmp_path):
    Image.new("F", (5, 4)).save(tmp_path / "image.pfm")
    with pytest.raises(CorruptFileError, match=r"image\.pfm: .*no defined white"):
        read_image(tmp_path / "image.pfm")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    with pytest.raises(CorruptFileError, match=r"photo\.heic: .* convert it to PNG or JPEG"):
        read_image(tmp_path / "photo.heic")
