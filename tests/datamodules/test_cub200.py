from functools import partial

import numpy as np
import pytest
import torch

from datamodules import CorruptFileError, CUB200DataModule
from tests.datamodules.data.cub import IMAGES, make_cub
from tests.datamodules.data.images import assert_boxes_enclose, truncate

datamodule = partial(CUB200DataModule, image_size=32, batch_size=8, num_workers=0)


NAMES = [name.rpartition("/")[2] for name in IMAGES]


@pytest.fixture
def root(tmp_path):
    return make_cub(tmp_path)


def test_a_batch(root):
    data = datamodule(root)
    (batch,) = data.test_dataloader()
    assert batch["name"] == [NAMES[1], NAMES[3]]
    assert batch["label"].tolist() == [0, 1]
    assert [labels.tolist() for labels in batch["box_labels"]] == [[0], [1]]
    assert batch["mask"].shape == (2, 32, 32)
    scale = torch.tensor([32 / 37, 32 / 51] * 2)
    assert torch.allclose(batch["boxes"][0], torch.tensor([[4, 9, 33, 40]]) * scale)
    assert data.class_names == ["Black footed Albatross", "Laysan Albatross"]


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_boxes_enclose_what_is_drawn(root, resize):
    dataset = datamodule(root, resize=resize).dataset("train")
    assert [dataset.name(index) for index in range(2)] == [NAMES[0], NAMES[2]]
    assert_boxes_enclose(dataset)


def test_the_mask_is_what_most_annotators_say_unless_it_cannot_be_read(root):
    mask = datamodule(root, image_size=(40, 60)).dataset("train")[0]["mask"]
    expected = np.zeros((40, 60))
    expected[5:25, 12:30] = 1
    assert np.array_equal(mask, expected)
    truncate(root / f"CUB_200_2011/images/{list(IMAGES)[1]}.jpg")
    truncate(root / f"segmentations/{list(IMAGES)[2]}.png")
    data = datamodule(root, on_error="skip")
    with pytest.warns(UserWarning, match="left out 1 of 2"):
        data.setup("fit")
    assert [item.name for item in data.skipped] == [NAMES[2], NAMES[1]]
    with pytest.raises(CorruptFileError, match=NAMES[2]):
        datamodule(root).dataset("train")[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", ["segmentations", "CUB_200_2011/segmentations", None])
def test_segmentations_in_either_place_or_none(tmp_path, place):
    root = make_cub(tmp_path, segmentations=place)
    kinds = {"image", "size", "name", "index", "label", "boxes", "box_labels"}
    assert set(datamodule(root).dataset("test")[0]) == kinds | ({"mask"} if place else set())
    further_in = datamodule(root / "CUB_200_2011").dataset("test")[0]
    assert ("mask" in further_in) == (place == "CUB_200_2011/segmentations")


@pytest.mark.parametrize(
    ("table", "contents", "problem"),
    [
        ("image_class_labels", "1 1\n2 1\n3 2\n5 2\n", "has 4 rows, for 3 of the 4 images"),
        ("image_class_labels", "1 1\n2 1\n3 2\n4 0\n", "labels must be 1 to 2"),
        (
            "bounding_boxes",
            "1 1 1 9 9\n2 1 1 9 x\n3 1 1 9 9\n4 1 1 9 9\n",
            "expected lines of number, x, y, width, height",
        ),
        ("train_test_split", "1 1\n2 0\n3 1\n3 0\n", "has lines with the same number"),
        ("images", "1\n", "expected lines of number, name"),
    ],
)
def test_bad_tables_are_named_also_when_skipping(root, table, contents, problem):
    path = root / f"CUB_200_2011/{table}.txt"
    path.write_text(contents)
    with pytest.raises(CorruptFileError, match=problem) as error:
        datamodule(root, on_error="skip").setup("test")
    assert str(error.value).startswith(str(path))
