from functools import partial

import pytest
import torch

from datamodules import CorruptFileError, TinyImageNetDataModule
from tests.datamodules.data.images import assert_boxes_enclose, names
from tests.datamodules.data.tiny_imagenet import NAMES, box_of, make_tiny_imagenet

GOLDFISH, SALAMANDER, TABBY = sorted(NAMES)
datamodule = partial(TinyImageNetDataModule, classes=3, test_images=2, batch_size=8, num_workers=0)


@pytest.fixture
def root(tmp_path):
    return make_tiny_imagenet(tmp_path)


@pytest.mark.filterwarnings("error")
def test_a_batch(root):
    data = datamodule(root)
    (batch,) = data.test_dataloader()
    assert data.class_names == [NAMES[wnid] for wnid in (GOLDFISH, SALAMANDER, TABBY)]
    assert set(batch) == {"image", "size", "name", "index", "label", "boxes", "box_labels"}
    assert batch["image"].shape == (6, 3, 64, 64)
    assert batch["label"].tolist() == torch.cat(batch["box_labels"]).tolist() == [0, 0, 1, 1, 2, 2]
    for name, boxes in zip(batch["name"], batch["boxes"], strict=True):
        assert boxes.tolist() == [list(box_of(f"{name}.JPEG"))]


def test_boxes_and_grey_images_in_train(root):
    for place in (root, root / "tiny-imagenet-200"):
        dataset = datamodule(place, resize="crop", image_size=48).dataset("train")
        assert len(dataset) == 12
        assert_boxes_enclose(dataset)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"test_images": 2}, {"train": 4, "val": 2, "test": 2}),  # all of train, and all of val
        ({"test_images": 3, "val_images": 2}, {"train": 1, "val": 2, "test": 3}),
        ({"test_images": 1, "val_images": 1, "train_images": 2}, {"train": 2, "val": 1, "test": 1}),
    ],
)
def test_images_of_each_class(root, options, counts):
    data = datamodule(root, **options)
    splits = {split: names(data, split) for split in counts}
    assert {split: len(found) for split, found in splits.items()} == {s: 3 * n for s, n in counts.items()}
    assert all(name.startswith("n") for name in splits["train"])
    assert sum(name.startswith("val_") for name in splits["test"]) == 3 * min(2, counts["test"])
    assert data.dataset("predict") is data.dataset("test")
    if "val_images" in options:
        assert len({*splits["train"], *splits["val"], *splits["test"]}) == 3 * sum(counts.values())
    else:
        assert data.dataset("val") is data.dataset("test")


def test_images_by_seed_and_classes_by_number_and_by_name(root):
    orders = {tuple(names(datamodule(root, train_images=1, split_seed=seed), "train")) for seed in range(5)}
    assert len(orders) > 1
    drawn = {tuple(datamodule(root, classes=2, class_seed=seed).class_names) for seed in range(20)}
    assert len(drawn) == 3
    data = datamodule(root, classes=["tabby cat", GOLDFISH])
    assert data.class_names == [NAMES[TABBY], NAMES[GOLDFISH]]
    assert [data.dataset("train")[index]["label"] for index in (0, 4)] == [0, 1]
    assert data.dataset("train").name(0).startswith(TABBY)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"classes": 4}, "classes must be a number, 1 to 3, or names of different classes, not 4"),
        ({"classes": ["tabby", TABBY]}, "names of different classes"),
        ({"classes": ["goldfisch"]}, 'no class "goldfisch"; did you mean "goldfish"'),
        (
            {"test_images": 6},
            f"class {GOLDFISH} has 4 images in train and 2 in val, too few .*: lower train_images",
        ),
        ({"train_images": 5}, "too few for 5 to train on, 0 to validate and 2 to test"),
        ({"test_images": 0}, r"test_images \(0\) must be at least 1"),
    ],
)
def test_options_that_cannot_be(root, options, problem):
    with pytest.raises(ValueError, match=problem):
        datamodule(root, **options).setup("fit")


@pytest.mark.parametrize("edges", ["1\t2\t3", "1\t2\tx\t3"])
def test_bad_tables_are_named(root, edges):
    path = root / "tiny-imagenet-200/val/val_annotations.txt"
    path.write_text(f"val_0.JPEG\t{GOLDFISH}\t{edges}\n")
    with pytest.raises(
        CorruptFileError, match=f"{path}: expected lines of image, wnid, x0.*; replace the file.$"
    ):
        datamodule(root, on_error="skip").setup("fit")
