import signal

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolderDataModule
from salvit.callbacks import predictions
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


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_files(data, module, make_trainer, tmp_path):
    folder = tmp_path / "new" / "maps"
    expected = make_trainer(callbacks=[PredictionWriter(str(folder))]).predict(module, data)
    order = [name for batch in data.predict_dataloader() for name in batch["name"]]
    assert files(folder) == sorted(
        f"{name}{end}" for name in SIZES for end in (".npy", ".png", "_overlay.png")
    )
    for name, saliency in zip(order, [one for batch in expected for one in batch], strict=True):
        values = np.load(folder / f"{name}.npy")
        assert values.dtype == np.float32
        assert values.shape == SIZES[name]
        assert np.array_equal(values, saliency.numpy())
        with Image.open(folder / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == ("L", SIZES[name][::-1])
            grey = np.asarray(picture, dtype=float)
        assert (grey.min(), grey.max()) == (0, 255)
        assert np.corrcoef(grey.ravel(), values.ravel())[0, 1] > 0.999
        with Image.open(folder / f"{name}_overlay.png") as picture:
            assert (picture.mode, picture.size) == ("RGB", SIZES[name][::-1])


@pytest.mark.parametrize(("kind", "end"), [("npy", ".npy"), ("png", ".png"), ("overlay", "_overlay.png")])
def test_one_kind(data, module, make_trainer, tmp_path, kind, end):
    make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"), kinds=[kind])]).predict(module, data)
    assert files(tmp_path / "maps") == sorted(name + end for name in SIZES)


@pytest.mark.parametrize("kinds", [["jpg"], ["npy", "jpg"], []])
def test_unknown_kinds(kinds):
    with pytest.raises(ValueError, match='must be of "npy", "png" and "overlay"'):
        PredictionWriter("maps", kinds=kinds)


class Interrupted(SaliencyModule):
    def predict_step(self, batch, batch_idx):
        if batch_idx:
            raise KeyboardInterrupt
        return super().predict_step(batch, batch_idx)


def test_an_interrupt_leaves_whole_files(data, make_trainer, tmp_path, vit_file):
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))]).predict(
                Interrupted(vit=vit_file()), data
            )
    finally:
        signal.signal(signal.SIGINT, handler)
    done = data.dataset("predict")
    names = [done[index]["name"] for index in range(3)]
    assert files(tmp_path / "maps") == sorted(
        f"{n}{end}" for n in names for end in (".npy", ".png", "_overlay.png")
    )
    assert all(np.load(tmp_path / "maps" / f"{name}.npy").shape == SIZES[name] for name in names)


def test_a_full_disk_leaves_no_half_file(data, module, make_trainer, tmp_path, monkeypatch):
    def save(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predictions.np, "save", save)
    with pytest.raises(OSError, match="No space left"):
        make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))]).predict(module, data)
    assert files(tmp_path / "maps") == []
