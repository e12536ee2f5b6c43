from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import CorruptFileError, OSIEDataModule
from datamodules.base import divided, fixation_density
from datamodules.datasets.osie import TRAIN_SHARE
from salvit.cli.command import run
from tests.datamodules.data.images import truncate
from tests.datamodules.data.osie import SIZE, make_osie, subjects


def datamodule(root, **options):
    return OSIEDataModule(root, image_size=(12, 16), batch_size=2, num_workers=0, **options)


@pytest.fixture
def root(tmp_path):
    return make_osie(tmp_path)


def names(osie, split):
    return [stimulus.name for stimulus in osie.dataset(split).stimuli]


def test_split_is_complete_and_depends_on_the_seed(root):
    osie = datamodule(root)
    osie.setup("fit")
    train, val = names(osie, "train"), names(osie, "val")
    assert (len(train), len(val)) == (5, 2)
    assert sorted(train + val) == [str(number) for number in range(1001, 1008)]
    assert names(datamodule(root), "val") == val
    assert any(names(datamodule(root, split_seed=seed), "val") != val for seed in (1, 2, 3))
    assert osie.dataset("test") is osie.dataset("predict") is osie.dataset("val")


def test_declared_split():
    train, val = divided([str(number) for number in range(1001, 1701)], 0, TRAIN_SHARE)
    assert (len(train), len(val)) == (500, 200)
    assert val[:5] == ["1003", "1006", "1008", "1010", "1012"]


def test_fixations_are_fractional_and_zero_based(root):
    dataset = datamodule(root).dataset("val")
    sample = dataset[0]
    expected = np.concatenate(subjects(int(sample["name"]))) - 1
    assert len(expected) == 6
    assert np.allclose(sample["fixations"], expected)
    assert sample["size"] == SIZE
    assert torch.equal(sample["density"], fixation_density(sample["fixations"], SIZE, 24.0))
    narrow = datamodule(root, sigma=3.0).dataset("val")[0]
    assert torch.equal(narrow["density"], fixation_density(narrow["fixations"], SIZE, 3.0))
    assert sample["image"].shape == (3, 12, 16)


def test_skipping_leaves_the_split_as_it_was(root):
    whole = datamodule(root)
    train, val = names(whole, "train"), names(whole, "val")
    (root / f"data/stimuli/{train[0]}.jpg").unlink()
    (root / "data/stimuli/0000.jpg").write_bytes((root / f"data/stimuli/{val[0]}.jpg").read_bytes())
    osie = datamodule(root, on_error="skip")
    with pytest.warns(UserWarning, match="left out 1 of"):
        osie.setup("fit")
    assert (names(osie, "train"), names(osie, "val")) == (train[1:], val)
    assert [item.name for item in osie.skipped] == [train[0], "0000"]


def test_corrupt_annotations_are_named_whatever_is_configured(root):
    path = truncate(root / "data/eye/fixations.mat")
    for on_error in ("raise", "skip"):
        with pytest.raises(CorruptFileError, match=str(path)):
            datamodule(root, on_error=on_error).setup("fit")


def test_observers_are_known_apart(tmp_path):
    dataset = OSIEDataModule(make_osie(tmp_path), image_size=32).dataset("val")
    found = dataset.observers(0)
    assert [points.shape for points in found] == [(5, 2), (1, 2), (0, 2)]
    assert torch.equal(torch.cat(found), dataset.fixations(0))


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended")
def test_the_quick_start_names_osie_when_its_folder_is_missing(tmp_path, monkeypatch, capsys):
    config = Path(__file__).parents[2] / "experiments/osie.yaml"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(["fit", "--config", str(config), "--trainer.accelerator", "cpu"])
    error = capsys.readouterr().err
    assert "OSIE: cannot find its root folder (pass root or set SALVIT_OSIE_ROOT)" in error
    assert "https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels" in error
    assert "salicon" not in error.lower()
