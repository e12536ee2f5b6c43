from functools import partial

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from datamodules import CAT2000DataModule, CorruptFileError
from datamodules.base import read_mat_map
from tests.datamodules.data.cat2000 import CATEGORIES, SIZE, make_cat2000, seed_of
from tests.datamodules.data.images import assert_density, names, points, write_image

datamodule = partial(CAT2000DataModule, image_size=(18, 32), batch_size=8, num_workers=0)


@pytest.fixture
def root(tmp_path):
    return make_cat2000(tmp_path)


def test_four_fifths_of_each_category_are_train_whatever_else_lies_there(root):
    write_image(root / "trainSet/Stimuli/.hidden/001.jpg", SIZE)
    (root / "trainSet/Stimuli/Thumbs.db").write_bytes(b"")
    (root / "trainSet/FIXATIONLOCS/Action/allFixData.mat").write_bytes(b"")
    data = datamodule(root)
    everything = [f"{category}__{number:03d}" for category in CATEGORIES for number in (1, 3, 5, 7, 9)]
    assert sorted(names(data, "train") + names(data, "val")) == everything
    for category in CATEGORIES:
        assert sum(name.startswith(category) for name in names(data, "train")) == 4


def test_a_batch(root):
    (batch,) = datamodule(root).val_dataloader()
    assert batch["category"] == list(CATEGORIES)
    assert batch["size"] == [SIZE, SIZE]
    for row, name in enumerate(batch["name"]):
        category, stem = name.split("__")
        assert np.array_equal(batch["fixations"][row], points(seed_of(category, int(stem)), SIZE))
        assert_density(batch["density"][row], root / f"trainSet/FIXATIONMAPS/{category}/{stem}.jpg")


def test_test_images_are_predicted(tmp_path):
    data = datamodule(make_cat2000(tmp_path, test=2))
    data.setup("predict")
    assert names(data, "predict") == [f"{c}__00{number}" for c in CATEGORIES for number in (1, 2)]
    sample = data.dataset("predict")[0]
    assert (sample["category"], "fixations" in sample) == ("Action", False)
    assert data.dataset("test") is data.dataset("val")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.zeros((3, 4)), "expected 'fixLocs' to be a matrix of numbers, 36×64"),
        (np.array(["no"]), "expected 'fixLocs' to be a matrix of numbers, 36×64"),
        (np.full(SIZE, np.nan), "'fixLocs' has NaN"),
    ],
)
def test_a_matrix_that_cannot_be_used(root, values, problem):
    path = root / "trainSet/FIXATIONLOCS/Action/005.mat"
    savemat(path, {"fixLocs": values})
    with pytest.raises(CorruptFileError, match=rf"{path}: {problem}"):
        datamodule(root).dataset("val")[0]


def test_a_sparse_matrix_is_read_and_version_7_3_names_the_remedy(root):
    path = root / "trainSet/FIXATIONLOCS/Action/005.mat"
    full = loadmat(path)["fixLocs"]
    savemat(path, {"fixLocs": csc_matrix(full.astype(float))})
    assert np.array_equal(read_mat_map("fixLocs", path, SIZE), np.argwhere(full)[:, ::-1])
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(384))
    with pytest.raises(CorruptFileError, match=rf"{path}: a MATLAB file of version 7\.3.*'-v7'"):
        datamodule(root).dataset("val")[0]
