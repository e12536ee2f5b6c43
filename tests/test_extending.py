"""The examples of docs/extending.md do what the page says, run by its commands as they are printed."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import salvit
from datamodules import CorruptFileError, DatasetNotFoundError
from salvit.__main__ import main
from salvit.extractors import METHODS
from tests.datamodules.data.images import write_image

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^salvit .*$", PAGE, re.MULTILINE)
FILES = re.findall(r"^`(my_\w+)\.py`", PAGE, re.MULTILINE)
LINES = {"my_method": 30, "my_score": 30, "my_fixations": 60}
SIZES = ["--data.train_size", "4", "--data.val_size", "2", "--data.test_size", "4"]
DISPLAYS = [*SIZES, "--data.num_workers", "0"]
SHORT = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
ONE_EPOCH = [*SHORT, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A user's current folder, with the three files."""
    for name, code in zip(FILES, CODE, strict=True):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    METHODS.pop("strongest_head", None)
    for name in FILES:
        sys.modules.pop(name, None)


@pytest.fixture
def fixations(folder):
    rows = ["image,x,y"]
    for number in range(1, 11):
        write_image(folder / f"FOLDER/images/{number}.jpg", (40, 60), number)
        rows += [f"{number},{number},2", f"{number},12.5,{number}", f"{number},99,99"]
    (folder / "FOLDER/fixations.csv").write_text("\n".join(rows))
    return folder / "FOLDER"


def typed(word, options=()):
    """Run the page's command that has a word in it, with options that make it short."""
    [command] = [line for line in COMMANDS if word in line]
    main([*shlex.split(command)[1:], *options])


def test_the_page_has_three_short_files():
    assert list(LINES) == FILES
    assert all(len(code.splitlines()) <= LINES[name] for name, code in zip(FILES, CODE, strict=True))


def test_a_method_is_shown_beside_others(folder):
    write_image(folder / "photo.jpg", (64, 64), 0)
    typed("explain photo.jpg")
    table = pd.read_csv("runs/explain/explain.csv")
    assert set(table["method"]) == {"strongest_head:block=0", "rollout"}
    heads = np.load("runs/explain/maps/photo/strongest_head,block=0.npy")
    assert heads.shape == (64, 64)
    assert heads.min() >= 0 < heads.max() <= 1


def test_values_of_the_method(vit_file):
    vit = salvit.load_vit(vit_file())
    images = torch.rand(2, 3, 32, 48)
    heads = salvit.extract(vit, images, "raw_attention", per_head=True)
    strongest = salvit.extract(vit, images, "my_method.StrongestHead")
    torch.testing.assert_close(strongest, heads.amax(1, keepdim=True))


def test_a_method_is_fitted():
    typed("--model.extractor my_method", [*DISPLAYS, *ONE_EPOCH])
    assert Path("runs/demo/raw_attention/version_0/checkpoints/last.ckpt").is_file()


def test_a_score_has_its_column():
    typed("my_score", [*DISPLAYS, *SHORT, "--model.extractors", "[raw_attention, random]"])
    table = pd.read_csv("runs/agcam/popout/version_0/scores.csv").set_index(["method", "score"])
    rows = {(method, score) for method in ("raw_attention", "random") for score in ("SMM", "peak_distance")}
    assert set(table.index) == rows
    assert table.loc[("raw_attention", "peak_distance"), "images"] == 4


def test_values_of_the_score():
    heatmap = torch.zeros(3, 2, 3)
    heatmap[:, 1, 2] = 1  # its middle is at 3/4 of the height and 5/6 of the width
    mask = torch.zeros(4, 6)
    mask[3, 4:] = 1  # at 7/8 and 5/6
    metric = __import__("my_score").PeakDistance()
    metric.update(heatmap, [mask, torch.zeros(4, 6), None])
    assert metric.per_image()[0].item() == pytest.approx(1 / 8 / 2**0.5)
    assert metric.per_image().isnan().tolist() == [False, True, True]


def test_samples_of_the_dataset(fixations):
    data = __import__("my_fixations").MyFixationsDataModule(fixations, image_size=16, num_workers=0)
    train, val = data.dataset("train"), data.dataset("test")
    assert (len(train), len(val)) == (8, 2)
    sample = val[0]
    number = int(sample["name"])
    assert sample["fixations"].tolist() == [[number, 2], [12.5, number]]
    assert np.isclose(sample["density"].sum(), 1)
    assert data.dropped_fixations("val") == 2


def test_a_dataset_is_fitted_to(fixations):
    typed("my_fixations", [*ONE_EPOCH, "--data.num_workers", "0", "--wandb", "false"])
    assert Path("runs/osie/version_0/checkpoints/last.ckpt").is_file()


def test_errors_of_the_dataset(fixations):
    kind = __import__("my_fixations").MyFixationsDataModule
    (fixations / "fixations.csv").write_text("image,x\n1,2")
    with pytest.raises(CorruptFileError, match=r"fixations\.csv: expected the columns image, x and y"):
        kind(fixations).dataset("train")
    (fixations / "fixations.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match="MyFixations: cannot find") as error:
        kind(fixations).dataset("train")
    assert "our laboratory" in str(error.value)
