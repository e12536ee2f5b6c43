from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import CorruptFileError, OSIEDataModule
from datamodules.base import divided, fixation_density
from datamodules.datasets.osie import TRAIN_SHARE
from salvit.cli.command import run
from tests.datamodules.data.images import names, truncate
from tests.datamodules.data.osie import SIZE, make_osie, subjects

datamodule = partial(OSIEDataModule, image_size=(12, 16), batch_size=2, num_workers=0)


@pytest.fixture
def root(tmp_path):
    return make_osie(tmp_path)


def test_declared_split():
    train, val = divided([str(number) for number in range(1001, 1701)], 0, TRAIN_SHARE)
    assert (len(train), len(val)) == (500, 200)
    assert val[:5] == ["1003", "1006", "1008", "1010", "1012"]


@pytest.mark.parametrize(("options", "sigma"), [({}, 24.0), ({"sigma": 3.0}, 3.0)])
def test_fixations_are_fractional_zero_based_and_known_for_each_observer(root, options, sigma):
    dataset = datamodule(root, **options).dataset("val")
    sample = dataset[0]
    expected = np.concatenate(subjects(int(sample["name"]))) - 1
    assert np.allclose(sample["fixations"], expected)
    assert [len(points) for points in dataset.observers(0)] == [5, 1, 0]
    assert torch.equal(torch.cat(dataset.observers(0)), sample["fixations"])
    assert torch.equal(sample["density"], fixation_density(sample["fixations"], SIZE, sigma))


def test_images_without_fixations_are_left_out_and_corrupt_annotations_an_error(root):
    val = names(datamodule(root))
    (root / "data/stimuli/0000.jpg").write_bytes((root / f"data/stimuli/{val[0]}.jpg").read_bytes())
    osie = datamodule(root, on_error="skip")
    with pytest.warns(UserWarning, match="left out 1 of"):
        assert names(osie) == val
    assert [item.name for item in osie.skipped] == ["0000"]
    path = truncate(root / "data/eye/fixations.mat")
    with pytest.raises(CorruptFileError, match=str(path)):
        datamodule(root, on_error="skip").setup("fit")


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
