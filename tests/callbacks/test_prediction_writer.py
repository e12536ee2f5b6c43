import signal

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from datamodules import ImageFolderDataModule
from salvit.callbacks.predictions import PredictionWriter
from salvit.modules import SaliencyModule
from tests.datamodules.data.images import write_image

SIZES = {"a": (20, 30), "b": (41, 33), "c": (64, 64), "cats__a": (32, 50)}


@pytest.fixture
def data(tmp_path):
    for name, size in SIZES.items():
        write_image(tmp_path / "images" / f"{name.replace('__', '/')}.jpg", size, seed=len(name))
    return ImageFolderDataModule(tmp_path / "images", image_size=32, batch_size=3, num_workers=0)


@pytest.fixture
def module(vit_file):
    torch.manual_seed(0)
    return SaliencyModule(vit=vit_file())


KINDS = {"npy": ".npy", "png": ".png", "overlay": "_overlay.png"}


def files(folder):
    return sorted(path.name for path in folder.glob("[!.]*"))


def named(names, kinds=KINDS):
    return sorted(f"{name}{KINDS[kind]}" for name in names for kind in kinds)


@pytest.fixture
def predict(module, make_trainer, tmp_path):
    """Writes maps into the folder `maps`; returns the predictions."""

    def write(data, model=module, folder="maps", **options):
        writer = PredictionWriter(str(tmp_path / folder), **options)
        return make_trainer(callbacks=[writer]).predict(model, data)

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_in_the_folder_of_the_run(data, module, make_trainer, tmp_path, kind):
    writer, logger = PredictionWriter(kinds=[kind]), CSVLogger(tmp_path, "predict")
    make_trainer(callbacks=[writer], logger=logger).predict(module, data)
    assert files(tmp_path / "predict/version_0/maps") == named(SIZES, [kind])
    for wrong in (["npy", "jpg"], []):
        with pytest.raises(ValueError, match='must be of "npy", "png" and "overlay"'):
            PredictionWriter("maps", kinds=wrong)


def test_files(data, predict, tmp_path):
    expected = [one for batch in predict(data, folder="new/maps") for one in batch]
    order = [name for batch in data.predict_dataloader() for name in batch["name"]]
    folder = tmp_path / "new/maps"
    assert files(folder) == named(SIZES)
    for name, saliency in zip(order, expected, strict=True):
        values = np.load(folder / f"{name}.npy")
        assert (values.dtype, values.shape) == (np.float32, SIZES[name])
        assert np.array_equal(values, saliency.numpy())
        with Image.open(folder / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == ("L", SIZES[name][::-1])
            grey = np.asarray(picture, dtype=float)
        assert (grey.min(), grey.max()) == (0, 255)
        assert np.corrcoef(grey.ravel(), values.ravel())[0, 1] > 0.999
        with Image.open(folder / f"{name}_overlay.png") as picture:
            assert (picture.mode, picture.size) == ("RGB", SIZES[name][::-1])


class Interrupted(SaliencyModule):
    def predict_step(self, batch, batch_idx):
        if batch_idx:
            raise KeyboardInterrupt
        return super().predict_step(batch, batch_idx)


def test_an_interrupt_leaves_whole_files(data, predict, tmp_path, vit_file):
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            predict(data, Interrupted(vit=vit_file()))
    finally:
        signal.signal(signal.SIGINT, handler)
    names = [data.dataset("predict").name(index) for index in range(3)]
    assert files(tmp_path / "maps") == named(names)
    assert all(np.load(tmp_path / "maps" / f"{name}.npy").shape == SIZES[name] for name in names)


def folder_of(tmp_path, *names):
    for number, name in enumerate(names):
        write_image(tmp_path / "images" / name, (20, 30), number)
    return ImageFolderDataModule(tmp_path / "images", image_size=32, batch_size=1, num_workers=0)


def test_maps_that_are_not_finite_are_named_and_not_written(data, predict, tmp_path, vit_file):
    class Diverged(SaliencyModule):
        def predict_step(self, batch, batch_idx):
            maps = super().predict_step(batch, batch_idx)
            pairs = zip(batch["name"], maps, strict=True)
            return [one * torch.nan if name == "cats__a" else one for name, one in pairs]

    with pytest.raises(ValueError, match=r"map of the image 'cats__a' has NaN or infinite values"):
        predict(data, Diverged(vit=vit_file()), kinds=["npy"])
    order = [data.dataset("predict").name(index) for index in range(4)]
    assert files(tmp_path / "maps") == named(order[: order.index("cats__a")], ["npy"])


def test_images_whose_results_would_be_one_file_are_found_first(predict, tmp_path):
    data = folder_of(tmp_path, "a.png", "a_overlay.png")
    both = r"images 'a' and 'a_overlay' would both be written to .*a_overlay\.png: rename"
    with pytest.raises(ValueError, match=both):
        predict(data)
    assert files(tmp_path / "maps") == []
    predict(data, kinds=["npy", "png"])
    assert files(tmp_path / "maps") == named(["a", "a_overlay"], ["npy", "png"])


def test_files_of_others_are_not_overwritten_but_those_of_an_earlier_run_are(predict, tmp_path):
    data, mine = folder_of(tmp_path, "a.jpg", "b.jpg"), tmp_path / "maps/b.png"
    mine.parent.mkdir()
    mine.write_bytes(b"a user's own")
    said = r"b\.png exists and was not written by salvit .* name another folder"
    with pytest.raises(ValueError, match=said):
        predict(data)
    assert mine.read_bytes() == b"a user's own"
    mine.unlink()
    predict(data)
    before = (tmp_path / "maps/a.npy").stat().st_mtime_ns
    predict(data)
    assert (tmp_path / "maps/a.npy").stat().st_mtime_ns > before
    # Never the images themselves.
    predict(data, folder="images", kinds=["npy"])
    photo = write_image(tmp_path / "images/c.png", (20, 30)).read_bytes()
    data = ImageFolderDataModule(tmp_path / "images", image_size=32, num_workers=0)
    with pytest.raises(ValueError, match=r"c\.png exists and was not written"):
        predict(data, folder="images")
    assert (tmp_path / "images/c.png").read_bytes() == photo
