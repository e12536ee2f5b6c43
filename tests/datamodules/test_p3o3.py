from functools import partial

import numpy as np
import pytest

from datamodules import CorruptFileError, P3O3DataModule
from datamodules.datasets.p3o3 import read_features
from tests.datamodules.data.p3o3 import DISTRACTORS, SIZE, TARGET, make_p3o3, rectangles

datamodule = partial(P3O3DataModule, image_size=32, batch_size=8, num_workers=0)


NAMES = [f"{folder}__image_circle_90_20" for folder in ("colors", "orientations", "sizes")]
CATEGORIES = ["P3 colour", "P3 orientation", "P3 size", "O3 colour+shape", "O3 size"]


@pytest.fixture
def root(tmp_path):
    return make_p3o3(tmp_path)


def test_a_batch(root):
    (batch,) = datamodule(root).test_dataloader()
    assert batch["name"] == [*NAMES, "O3__orchid", "O3__owl"]
    assert batch["category"] == CATEGORIES
    for key, boxes in (("target", [TARGET]), ("distractors", DISTRACTORS)):
        assert batch[key].shape == (5, *SIZE)
        assert all(np.array_equal(mask, rectangles(*boxes) > 0) for mask in batch[key])
    assert batch["mask"].shape == (5, 32, 32)
    assert np.array_equal(batch["mask"][0], rectangles(TARGET)[::2, ::2] > 0)
    assert "fixations" not in batch


def test_one_of_the_sets_and_properties_that_are_no_table(root):
    def categories(subset):
        return [one.category for one in datamodule(root, subset=subset).dataset("test").stimuli]

    assert (categories("P3"), categories("O3")) == (CATEGORIES[:3], CATEGORIES[3:])
    (root / "O3/image_properties.txt").write_text("orchid.jpg 3 17\n")
    with pytest.warns(UserWarning, match=r"image_properties\.txt: expected a table.*put into one category"):
        assert categories("O3") == ["O3", "O3"]


@pytest.mark.parametrize("mark", ["\t", ", ", ";", "   "])
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("yes", "no")])
def test_tables(tmp_path, mark, yes, no):
    path = tmp_path / "image_properties.txt"
    rows = [["image", "distractors", "Color", "focus"], ["a.b.jpg", "4", yes, no], ["c.jpg", "6", yes, yes]]
    path.write_text("\n".join(mark.join(row) for row in rows) + "\n\n")
    assert read_features(path) == {"a.b": ["colour"], "c": ["colour", "focus"]}


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "expected a table"),
        (b"image,number\na.jpg,3\n", "expected a table"),
        (b"image,color\na.jpg,blue\n", "expected 0 or 1 for colour of a.jpg, not 'blue'"),
        (b"\xff", "cannot read it"),
    ],
)
def test_no_table(tmp_path, contents, problem):
    path = tmp_path / "image_properties.txt"
    path.write_bytes(contents)
    with pytest.raises(CorruptFileError, match=f"{path}: {problem}"):
        read_features(path)
