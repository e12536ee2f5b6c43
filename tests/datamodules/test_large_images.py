"""Images of many pixels are decoded smaller, and predicted in little memory."""

import numpy as np
import pytest
from PIL import Image

from datamodules import ImageFolderDataModule
from datamodules.base import images, read_image, read_size, to_tensor
from tests.cli.test_memory import PEAK, found
from tests.datamodules.data.images import write_image

LEAST = (20, 30)
GIBIBYTE = 2**30


@pytest.fixture
def large_from(monkeypatch):
    monkeypatch.setattr(images, "_LARGE", 10_000)


@pytest.mark.parametrize("kind", ["RGB.jpg", "L.jpg", "CMYK.jpg", "RGB.png", "P.png", "RGBA.png", "1.png"])
def test_a_large_image_is_smaller_than_its_file_and_looks_the_same(tmp_path, large_from, kind):
    mode, ending = kind.split(".")
    Image.open(write_image(tmp_path / "a.png", (311, 402))).convert(mode).save(tmp_path / f"b.{ending}")
    path = tmp_path / f"b.{ending}"
    whole, small = read_image(path), read_image(path, least=LEAST)
    assert whole.size == (402, 311)
    assert 60 <= min(small.size) < 150
    difference = to_tensor(whole, LEAST) - to_tensor(small, LEAST)
    assert difference.abs().mean() * 255 < (8 if mode == "1" else 2)


def test_an_image_is_never_smaller_than_what_it_is_shrunk_to(tmp_path, large_from):
    path = write_image(tmp_path / "panorama.png", (40, 2000))
    assert read_image(path, least=LEAST).size == (2000, 40)
    assert read_image(write_image(tmp_path / "small.png", (90, 100)), least=(2, 2)).size == (100, 90)


def test_a_large_image_is_turned_and_keeps_its_native_size(tmp_path, large_from):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(write_image(tmp_path / "upright.png", (400, 300)))
    upright.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (tmp_path / "upright.png").unlink()
    assert read_size(tmp_path / "turned.jpg") == (400, 300)
    sample = ImageFolderDataModule(tmp_path, image_size=32).dataset("predict")[0]
    assert sample["size"] == (400, 300)
    expected = to_tensor(upright.convert("RGB"), (32, 32))
    assert np.abs((sample["image"] - expected).numpy()).mean() * 255 < 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "limit"), [("photograph.jpg", 2), ("photograph.png", 2.3)])  # in GiB
def test_96_megapixels_are_predicted_in_little_memory(tmp_path, vit_file, name, limit):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((12000, 8000)).save(folder / name)
    del pixels
    options = (
        *("predict", "--config", "salvit:predict.yaml"),
        *("--model", "SaliencyModule", "--model.vit", vit_file(), "--untrained", "true"),
        *("--data.root", folder, "--data.num_workers", "0", "--data.image_size", "32"),
        *("--runs", tmp_path / "runs", "--trainer.accelerator", "cpu", "--wandb", "false"),
    )
    [most] = found(PEAK, *options)
    assert np.load(tmp_path / "runs/predict/version_0/maps/photograph.npy", mmap_mode="r").shape == (
        8000,
        12000,
    )
    print(f"{name}: {most / GIBIBYTE:.2f} GiB")
    assert most < limit * GIBIBYTE
