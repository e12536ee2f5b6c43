"""What the benchmark gets, against numpy written out."""

import importlib
import json
import signal
from datetime import timedelta

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image
from scipy.special import logsumexp

from datamodules import ImageFolderDataModule, MIT300DataModule
from salvit.callbacks.outputs import MARKER
from salvit.callbacks.submission import SubmissionWriter
from salvit.modules import SaliencyModule
from salvit.submission import hdf5
from tests.datamodules.data.formats import TURNED
from tests.datamodules.data.images import truncate, write_image
from tests.datamodules.data.mit import make_mit300

h5py = pytest.importorskip("h5py")
SIZES = {"i1.jpg": (21, 30), "i2.jpg": (22, 30), "i10.jpg": (30, 30)}


@pytest.fixture
def write(tmp_path, make_trainer):
    """Predicts with a writer into tmp_path/s."""

    def run(module, data, writer=None, **options):
        callbacks = [writer or SubmissionWriter(str(tmp_path / "s"))]
        return make_trainer(callbacks=callbacks, **options).predict(module, data)

    return run


@pytest.fixture
def data(tmp_path):
    # One in a batch: a network rounds differently in batches of different sizes.
    return MIT300DataModule(make_mit300(tmp_path / "mit300"), image_size=32, batch_size=1, num_workers=0)


@pytest.fixture
def module(vit_file):
    torch.manual_seed(0)
    return SaliencyModule(vit=vit_file())


def files(folder):
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if name != MARKER)


def log_densities(folder):
    with h5py.File(folder / "log_densities.h5") as file:
        return {name: file[name][()] for name in file}


def test_the_submission(data, module, write, tmp_path):
    folder = tmp_path / "new/submission"
    predictions = write(module, data, SubmissionWriter(str(folder)))
    stems = ("i1", "i10", "i2")
    assert files(folder) == [
        *(f"densities/{stem}.npy" for stem in stems),
        "log_densities.h5",
        *(f"maps/{stem}.png" for stem in stems),
        "submission.json",
    ]
    logs = log_densities(folder)
    assert logs.keys() == SIZES.keys()
    for (name, size), [saliency] in zip(SIZES.items(), predictions, strict=True):
        values = saliency.numpy().astype(np.float64)
        expected = (1 - 1e-4) * values / values.sum() + 1e-4 / values.size
        density = np.load(folder / f"densities/{name[:-4]}.npy")
        assert (density.dtype, density.shape) == (np.float32, size)
        assert np.allclose(density, expected, rtol=1e-6, atol=0)
        assert (logs[name].dtype, logs[name].shape) == (np.float32, size)
        assert np.allclose(logs[name], np.log(expected), rtol=0, atol=1e-5)
        assert abs(logsumexp(logs[name].astype(np.float64))) < 1e-5
        with Image.open(folder / f"maps/{name[:-4]}.png") as picture:
            assert (picture.mode, picture.size) == ("L", size[::-1])
            grey = np.asarray(picture).astype(int)
        unit = (expected - expected.min()) / (expected.max() - expected.min())
        exact = 255 * unit + 0.5
        # float32 may fall on the other side where the value is all but whole.
        sure = np.abs(exact - exact.round()) > 1e-3
        assert sure.mean() > 0.9
        assert np.array_equal(grey[sure], np.floor(exact).astype(int)[sure])


def test_the_record(data, module, make_trainer, tmp_path):
    trainer = make_trainer(callbacks=[SubmissionWriter(str(tmp_path / "s"))])
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer.predict(module, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    record = json.loads((tmp_path / "s/submission.json").read_text())
    assert record["images"] == 3
    assert record["checkpoint"] == str(tmp_path / "a.ckpt")
    assert record["postprocessing"] == {
        "blur": 0.0,
        "equalize": False,
        "power": 1.0,
        "center_weight": 0.0,
        "center_sigma": 0.25,
    }
    assert record["fit"] is None
    assert len(record["weights_sha256"]) == 64
    assert {"salvit", "torch"} <= record["versions"].keys()
    assert record["model"]["extractor"]["class_path"].endswith("RawAttention")


def test_jpg_without_log_densities_in_the_folder_of_the_run(data, module, write, tmp_path):
    writer = SubmissionWriter(picture="jpg", hdf5=False)
    write(module, data, writer, logger=CSVLogger(tmp_path, "mit300"))
    folder = tmp_path / "mit300/version_0/submission"
    assert {"maps/i1.jpg", "densities/i1.npy", "submission.json"} < set(files(folder))
    assert not (folder / "log_densities.h5").exists()
    with Image.open(folder / "maps/i2.jpg") as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (30, 22))


def test_images_in_subfolders(module, write, tmp_path):
    write_image(tmp_path / "images/a.jpg", (20, 30))
    write_image(tmp_path / "images/b/c.png", (40, 25))
    data = ImageFolderDataModule(tmp_path / "images", image_size=32, batch_size=2, num_workers=0)
    write(module, data)
    assert {"maps/a.png", "maps/b/c.png"} < set(files(tmp_path / "s"))
    with h5py.File(tmp_path / "s/log_densities.h5") as file:
        assert file["b/c.png"].shape == (40, 25)


def test_two_processes_write_the_same(data, module, write, tmp_path):
    fork = DDPStrategy(process_group_backend="gloo", start_method="fork", timeout=timedelta(seconds=60))
    for folder, options in (("one", {}), ("two", {"devices": 2, "strategy": fork})):
        write(module, data, SubmissionWriter(str(tmp_path / folder)), **options)
    one, two = (log_densities(tmp_path / folder) for folder in ("one", "two"))
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert one.keys() == two.keys() == SIZES.keys()
    assert all(np.allclose(two[name], one[name], rtol=0, atol=1e-5) for name in one)


class Interrupted(SaliencyModule):
    def predict_step(self, batch, batch_idx):
        if batch_idx:
            raise KeyboardInterrupt
        return super().predict_step(batch, batch_idx)


def test_an_interrupt_leaves_no_submission_and_a_rerun_completes_it(data, module, write, tmp_path, vit_file):
    write(module, data)
    complete = files(tmp_path / "s")
    for name in ("densities/i2.npy", "maps/i2.png"):
        (tmp_path / "s" / name).unlink()
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            write(Interrupted(vit=vit_file()), data)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "densities/i1.npy" in files(tmp_path / "s")
    assert not {"log_densities.h5", "submission.json"} & set(files(tmp_path / "s"))
    write(module, data)
    assert files(tmp_path / "s") == complete


def test_a_map_too_many_or_too_few_or_not_finite_is_no_submission(data, module, write, tmp_path):
    with pytest.raises(ValueError, match=r"i2\.npy: missing"):
        write(module, data, limit_predict_batches=1)
    write_image(tmp_path / "s/maps/i11.png", (20, 30))
    with pytest.raises(ValueError, match=r"i11\.png: belongs to none of the 3 images: remove it"):
        write(module, data)
    for parameter in module.decoder.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"map of the image 'i1\.jpg' has NaN or infinite values"):
        write(module, data)
    assert not (tmp_path / "s/submission.json").exists()


def test_an_unreadable_image(module, write, tmp_path):
    root = make_mit300(tmp_path / "mit300")
    truncate(root / "BenchmarkIMAGES/i2.jpg")
    data = MIT300DataModule(root, image_size=32, batch_size=1, num_workers=0, on_error="skip")
    with (
        pytest.warns(UserWarning, match="left out 1 of 3"),
        pytest.raises(ValueError, match="every image, and i2 cannot be read"),
    ):
        write(module, data)


def test_without_h5py(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(name) if name == "h5py" else AssertionError(name)

    monkeypatch.setattr(hdf5, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'salvit\[export\]'"):
        SubmissionWriter(str(tmp_path))
    assert SubmissionWriter(str(tmp_path), hdf5=False).hdf5 is False
    assert importlib.import_module("h5py")


def test_a_failed_file_leaves_none(tmp_path):
    with pytest.raises(ValueError, match="b: a density has values that are not positive"):
        hdf5.write_hdf5(tmp_path / "a.h5", [("a", np.ones((2, 2))), ("b", np.zeros((2, 2)))])
    assert list(tmp_path.iterdir()) == []


def test_options(tmp_path):
    with pytest.raises(ValueError, match="picture is 'gif'"):
        SubmissionWriter(str(tmp_path), picture="gif")
    with pytest.raises(FileNotFoundError, match="no post-processing"):
        SubmissionWriter(str(tmp_path), postprocessing=str(tmp_path / "a.json"))


@pytest.mark.parametrize("orientation", [1, 6])
def test_images_that_their_files_turn(module, write, tmp_path, orientation):
    (tmp_path / "images").mkdir()
    for kind, key in {"TIFF": "TIFF 8 BlackIsZero", "JPEG": "JPEG RGB"}.items():
        suffix, save, _ = TURNED[key]
        save(tmp_path / f"images/{kind}.{suffix}", np.linspace(0, 1, 20 * 30).reshape(20, 30), orientation)
    data = ImageFolderDataModule(tmp_path / "images", image_size=32, num_workers=0)
    write(module, data, SubmissionWriter(str(tmp_path / "s"), hdf5=False))
    upright = (20, 30) if orientation == 1 else (30, 20)
    assert {np.load(path).shape for path in (tmp_path / "s/densities").glob("*.npy")} == {upright}
