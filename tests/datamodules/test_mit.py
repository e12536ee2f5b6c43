from functools import partial

import numpy as np
import pytest

from datamodules import CorruptFileError, MIT300DataModule, MIT1003DataModule
from datamodules.base import read_picture_map
from tests.datamodules.data.images import assert_density, names, points, write_grey
from tests.datamodules.data.mit import SIZES, STEMS, make_mit300, make_mit1003

mit1003 = partial(MIT1003DataModule, image_size=(24, 32), batch_size=8, num_workers=0)


@pytest.fixture
def root(tmp_path):
    return make_mit1003(tmp_path)


def test_points_come_back_from_jpegs_exactly_but_not_of_another_size(root):
    dataset = mit1003(root).dataset("train")
    for sample in (dataset[index] for index in range(4)):
        number = STEMS.index(sample["name"])
        assert sample["size"] == SIZES[number]
        assert np.array_equal(sample["fixations"], points(number, SIZES[number]))
        assert_density(sample["density"], root / f"ALLFIXATIONMAPS/{sample['name']}_fixMap.jpg")
    write_grey(root / f"ALLFIXATIONMAPS/{STEMS[1]}_fixPts.jpg", np.zeros((5, 6), dtype=np.uint8))
    with pytest.raises(CorruptFileError, match=r"_fixPts\.jpg: the mask is 5×6 but its image is 64×48"):
        mit1003(root).dataset("val")[0]


def test_every_pixel_of_a_block_comes_back(tmp_path):
    for x, y in np.ndindex(8, 8):
        values = np.zeros((24, 24), dtype=np.uint8)
        values[8 + y, 8 + x] = 255
        found = read_picture_map(write_grey(tmp_path / "one.jpg", values, quality=75), (24, 24))
        assert found.tolist() == [[8 + x, 8 + y]]


def test_mit300_is_in_natural_order(tmp_path):
    make_mit300(tmp_path)
    for root in (tmp_path, tmp_path / "BenchmarkIMAGES"):
        data = MIT300DataModule(root, image_size=16, batch_size=2, num_workers=0)
        data.setup("predict")
        assert names(data, "predict") == ["i1", "i2", "i10"]
    assert data.dataset("predict")[2]["size"] == (30, 30)
