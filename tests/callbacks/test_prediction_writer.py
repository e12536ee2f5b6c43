import signal

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from datamodules import ImageFolderDataModule, VOC2012DataModule
from salvit.callbacks import predictions
from salvit.callbacks.predictions import PredictionWriter
from salvit.modules import SaliencyModule
from tests.datamodules.data.images import write_image
from tests.datamodules.data.voc import make_voc

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
    visible = folder.glob("[!.]*") if folder.exists() else []
    return sorted(path.name for path in visible)


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


def folder_of(tmp_path, *names):
    for number, name in enumerate(names):
        write_image(tmp_path / "images" / name, (20, 30), number)
    return ImageFolderDataModule(tmp_path / "images", image_size=32, batch_size=1, num_workers=0)


def test_the_default_folder_is_in_that_of_the_run(data, module, make_trainer, tmp_path):
    logger = CSVLogger(tmp_path, "predict")
    make_trainer(callbacks=[PredictionWriter(kinds=["npy"])], logger=logger).predict(module, data)
    assert files(tmp_path / "predict/version_0/maps") == sorted(f"{name}.npy" for name in SIZES)


def test_maps_that_are_not_finite_are_named_and_not_written(data, make_trainer, tmp_path, vit_file):
    class Diverged(SaliencyModule):
        def predict_step(self, batch, batch_idx):
            maps = super().predict_step(batch, batch_idx)
            pairs = zip(batch["name"], maps, strict=True)
            return [one * torch.nan if name == "cats__a" else one for name, one in pairs]

    trainer = make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))])
    with pytest.raises(ValueError, match=r"map of the image 'cats__a' has NaN or infinite values"):
        trainer.predict(Diverged(vit=vit_file()), data)
    written = [name.removesuffix(".npy") for name in files(tmp_path / "maps") if name.endswith(".npy")]
    order = [data.dataset("predict").name(index) for index in range(4)]
    assert sorted(written) == sorted(order[: order.index("cats__a")])


def test_a_decoder_of_nan(data, module, make_trainer, tmp_path):
    for parameter in module.decoder.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))]).predict(module, data)
    assert files(tmp_path / "maps") == []


def test_images_whose_results_would_be_one_file_are_found_first(module, make_trainer, tmp_path):
    data = folder_of(tmp_path, "a.png", "a_overlay.png")
    both = r"images 'a' and 'a_overlay' would both be written to .*a_overlay\.png: rename"
    with pytest.raises(ValueError, match=both):
        make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))]).predict(module, data)
    assert files(tmp_path / "maps") == []
    trainer = make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"), kinds=["npy", "png"])])
    trainer.predict(module, data)
    assert files(tmp_path / "maps") == ["a.npy", "a.png", "a_overlay.npy", "a_overlay.png"]


def test_a_name_twice_in_a_list(module, make_trainer, tmp_path):
    root = make_voc(tmp_path / "voc")
    names = root / "VOCdevkit/VOC2012/ImageSets/Main/val.txt"
    names.write_text(f"{names.read_text().split()[0]}\n" * 2)
    data = VOC2012DataModule(root, classes="all", image_size=32, num_workers=0)
    with pytest.raises(ValueError, match="would both be written to"):
        make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))]).predict(module, data)


@pytest.mark.filterwarnings("ignore:boxes of")
def test_no_name_leads_out_of_the_folder(module, make_trainer, tmp_path):
    root = make_voc(tmp_path / "voc")
    folder = root / "VOCdevkit/VOC2012"
    stem = (folder / "ImageSets/Main/val.txt").read_text().split()[0]
    (folder / "ImageSets/Main/val.txt").write_text(f"../{stem}\n")
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (folder / f"{kind}/{stem}.{suffix}").rename(folder / f"{stem}.{suffix}")
    data = VOC2012DataModule(root, classes="all", image_size=32, num_workers=0)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=rf"results of '\.\./{stem}' would be written outside .*maps"):
        make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))]).predict(module, data)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_of_others_are_not_overwritten_but_those_of_an_earlier_run_are(module, make_trainer, tmp_path):
    data = folder_of(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/b.png").write_bytes(b"a user's own")
    trainer = make_trainer(callbacks=[PredictionWriter(str(tmp_path / "maps"))])
    with pytest.raises(
        ValueError, match=r"b\.png is there and was not written by salvit .* name another folder"
    ):
        trainer.predict(module, data)
    assert (tmp_path / "maps/b.png").read_bytes() == b"a user's own"
    (tmp_path / "maps/b.png").unlink()
    trainer.predict(module, data)
    before = (tmp_path / "maps/a.npy").stat().st_mtime_ns
    trainer.predict(module, data)
    assert (tmp_path / "maps/a.npy").stat().st_mtime_ns > before


def test_the_images_themselves_are_never_overwritten(module, make_trainer, tmp_path):
    data = folder_of(tmp_path, "a.jpg")
    make_trainer(callbacks=[PredictionWriter(str(tmp_path / "images"), kinds=["npy"])]).predict(module, data)
    photo = write_image(tmp_path / "images/b.png", (20, 30)).read_bytes()
    again = ImageFolderDataModule(tmp_path / "images", image_size=32, num_workers=0)
    with pytest.raises(ValueError, match=r"b\.png is there and was not written by salvit"):
        make_trainer(callbacks=[PredictionWriter(str(tmp_path / "images"))]).predict(module, again)
    assert (tmp_path / "images/b.png").read_bytes() == photo
