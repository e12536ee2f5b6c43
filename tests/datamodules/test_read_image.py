import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.base import CorruptFileError, read_density, read_image, to_tensor
from tests.datamodules.data.images import truncate, write_image


def pixel(path):
    return read_image(path).getpixel((0, 0))


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (5, 4), (0, 100, 200, 51)).save(tmp_path / "image.png")
    assert pixel(tmp_path / "image.png") == (204, 224, 244)


def test_the_transparent_colour_of_a_palette_is_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "clear.gif", transparency=1)
    assert pixel(tmp_path / "clear.gif") == (255, 255, 255)


def test_the_transparent_value_of_16_bit_grey_is_white(tmp_path):
    values = np.full((4, 4), 41634, dtype=np.uint16)
    values[0, 0] = 1000
    Image.fromarray(values).save(tmp_path / "clear.png", transparency=1000)
    assert pixel(tmp_path / "clear.png") == (255, 255, 255)
    assert read_image(tmp_path / "clear.png").getpixel((1, 1)) == (162, 162, 162)


@pytest.mark.parametrize(
    "damage", [truncate, lambda path: path.write_bytes(b"no image"), lambda path: path.unlink()]
)
def test_bad_files_are_named(tmp_path, damage):
    path = write_image(tmp_path / "image.jpg", (48, 64))
    damage(path)
    with pytest.raises(CorruptFileError) as error:
        read_image(path)
    assert str(error.value).startswith(str(path))
    assert "on_error='skip'" in str(error.value)


def test_pillows_limit_on_pixels_stays_on(tmp_path, monkeypatch):
    path = write_image(tmp_path / "image.jpg", (48, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(CorruptFileError, match="DecompressionBombError"):
        read_image(path)


def test_squash_is_antialiased_bilinear(tmp_path):
    image = read_image(write_image(tmp_path / "image.png", (48, 64), seed=3))
    tensor = to_tensor(image, (20, 30))
    expected = np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR))
    assert (tensor.shape, tensor.dtype) == ((3, 20, 30), torch.float32)
    assert tensor.is_contiguous()
    assert np.abs(tensor.permute(1, 2, 0).numpy() * 255 - expected).max() <= 1.01


@pytest.mark.parametrize("factor", [12, 0])
def test_density_is_a_distribution_or_zero(tmp_path, factor):
    values = np.arange(20, dtype=np.uint8).reshape(4, 5) * np.uint8(factor)
    Image.fromarray(values).save(tmp_path / "map.png")
    density = read_density(tmp_path / "map.png")
    assert density.dtype == torch.float32
    assert np.allclose(density, values / max(values.sum(), 1), rtol=1e-6)


def test_density_must_be_grey(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "map.png")
    with pytest.raises(CorruptFileError, match=r"map\.png.*grey"):
        read_density(tmp_path / "map.png")
