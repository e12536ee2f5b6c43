import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.base import CorruptFileError, read_density, read_image, to_tensor
from tests.datamodules.data.images import truncate, write_image


def pixel(path):
    return read_image(path).getpixel((0, 0))


def test_what_is_transparent_is_white(tmp_path):
    Image.new("RGBA", (5, 4), (0, 100, 200, 51)).save(tmp_path / "half.png")
    assert pixel(tmp_path / "half.png") == (204, 224, 244)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "clear.gif", transparency=1)
    assert pixel(tmp_path / "clear.gif") == (255, 255, 255)
    grey = np.full((4, 4), 41634, dtype=np.uint16)
    grey[0, 0] = 1000
    Image.fromarray(grey).save(tmp_path / "grey.png", transparency=1000)
    assert pixel(tmp_path / "grey.png") == (255, 255, 255)
    assert read_image(tmp_path / "grey.png").getpixel((1, 1)) == (162, 162, 162)


@pytest.mark.parametrize(
    "damage", [truncate, lambda path: path.write_bytes(b"no image"), lambda path: path.unlink()]
)
def test_bad_files_are_named(tmp_path, damage, monkeypatch):
    path = write_image(tmp_path / "image.jpg", (48, 64))
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(CorruptFileError, match="DecompressionBombError"):
            read_image(path)
    damage(path)
    with pytest.raises(CorruptFileError, match="on_error='skip'") as error:
        read_image(path)
    assert str(error.value).startswith(str(path))


def test_squash_is_antialiased_bilinear(tmp_path):
    image = read_image(write_image(tmp_path / "image.png", (48, 64), seed=3))
    tensor = to_tensor(image, (20, 30))
    expected = np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR))
    assert (tensor.shape, tensor.dtype) == ((3, 20, 30), torch.float32)
    assert tensor.is_contiguous()
    assert np.abs(tensor.permute(1, 2, 0).numpy() * 255 - expected).max() <= 1.01


@pytest.mark.parametrize("factor", [12, 0])
def test_density_is_a_grey_distribution_or_zero(tmp_path, factor):
    values = np.arange(20, dtype=np.uint8).reshape(4, 5) * np.uint8(factor)
    Image.fromarray(values).save(tmp_path / "map.png")
    density = read_density(tmp_path / "map.png")
    assert density.dtype == torch.float32
    assert np.allclose(density, values / max(values.sum(), 1), rtol=1e-6)
    Image.new("RGB", (5, 4)).save(tmp_path / "map.png")
    with pytest.raises(CorruptFileError, match=r"map\.png.*grey"):
        read_density(tmp_path / "map.png")
