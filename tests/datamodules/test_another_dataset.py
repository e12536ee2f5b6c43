"""The dataset that docs/datasets.md adds in one file."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules import CorruptFileError, DatasetNotFoundError
from salvit.cli.command import run
from tests.datamodules.data.images import write_image

DOCUMENT = Path(__file__).parents[2] / "docs/datasets.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The module, as a user has it: a file in the current folder."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 60
    (tmp_path / "my_fixations.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("my_fixations")
    sys.modules.pop("my_fixations")


@pytest.fixture
def root(tmp_path):
    rows = ["image,x,y"]
    for number in range(1, 11):
        write_image(tmp_path / f"data/images/{number}.jpg", (40, 60), number)
        rows += [f"{number},{number},2", f"{number},12.5,{number}", f"{number},99,99"]
    (tmp_path / "data/fixations.csv").write_text("\n".join(rows))
    return tmp_path / "data"


def test_its_samples(example, root):
    data = example.MyFixationsDataModule(root, image_size=16, num_workers=0)
    train, val = data.dataset("train"), data.dataset("test")
    assert (len(train), len(val)) == (8, 2)
    sample = val[0]
    number = int(sample["name"])
    assert sample["fixations"].tolist() == [[number, 2], [12.5, number]]
    assert np.isclose(sample["density"].sum(), 1)
    assert data.dropped_fixations("val") == 2


@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended")
def test_the_command_beside_it(example, root, vit_file):
    data = [
        "--data",
        "my_fixations.MyFixationsDataModule",
        "--data.root",
        str(root),
        "--data.image_size",
        "32",
    ]
    trainer = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--data.num_workers", "0"]
    run(["fit", "--model", "SaliencyModule", "--model.vit", vit_file(), *data, *trainer])


def test_its_errors(example, root):
    (root / "fixations.csv").write_text("image,x\n1,2")
    with pytest.raises(CorruptFileError, match=r"fixations\.csv: expected the columns image, x and y"):
        example.MyFixationsDataModule(root).dataset("train")
    (root / "fixations.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match="MyFixations: cannot find") as error:
        example.MyFixationsDataModule(root).dataset("train")
    assert "our laboratory" in str(error.value)
