from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import CorruptFileError, DatasetNotFoundError, VOC2012DataModule
from datamodules.datasets.voc2012 import CLASSES
from tests.datamodules.data.images import assert_boxes_enclose, names, truncate
from tests.datamodules.data.voc import IMAGES, make_voc, write_class_mask
from tests.datamodules.data.xml import write_xml

datamodule = partial(VOC2012DataModule, image_size=32, batch_size=8, num_workers=0)


STEMS = list(IMAGES)


@pytest.fixture
def root(tmp_path):
    return make_voc(tmp_path)


def xml(root, number):
    return root / f"VOCdevkit/VOC2012/Annotations/{STEMS[number]}.xml"


def test_a_batch(root):
    (batch,) = datamodule(root).test_dataloader()
    assert batch["name"] == [STEMS[0], STEMS[1], STEMS[3]]
    assert batch["label"].tolist() == [CLASSES.index(name) for name in ("dog", "cat", "aeroplane")]
    assert list(VOC2012DataModule.class_names) == sorted(CLASSES)
    assert batch["size"] == [(40, 60), (51, 37), (45, 45)]
    assert [len(boxes) for boxes in batch["boxes"]] == [1, 2, 1]
    assert [labels.tolist() for labels in batch["box_labels"]] == [[11], [7, 7], [0]]
    assert torch.equal(batch["labels"], torch.eye(20)[batch["label"]])
    assert torch.allclose(
        batch["boxes"][0], torch.tensor([[10, 5, 30, 25]]) * torch.tensor([32 / 60, 32 / 40] * 2)
    )
    assert "fixations" not in batch


@pytest.mark.parametrize(("resize", "image_size"), [("squash", (48, 36)), ("crop", 32)])
def test_boxes_and_masks_enclose_what_is_drawn(root, resize, image_size):
    dataset = datamodule(root, resize=resize, image_size=image_size).dataset("val")
    assert_boxes_enclose(dataset)
    mask = dataset[0]["mask"]
    shown = dataset[0]["image"].mean(0) > 0.5
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert 0.8 < float(mask.sum() / shown.sum()) <= 1.01
    assert (mask.bool() & ~shown).sum() <= 2 * max(mask.shape)


def test_several_classes(root):
    sample = datamodule(root, classes="multi").dataset("val")[0]
    assert sample["label"] == CLASSES.index("dog")  # the larger of the two
    assert sample["labels"].nonzero().flatten().tolist() == [11, 14]
    assert sample["box_labels"].tolist() == [14, 11]


def test_masks_are_of_the_labels_class_and_some_images_have_none(root):
    (batch,) = datamodule(root).val_dataloader()
    assert [mask is None for mask in batch["mask"]] == [False, True, True]
    (alone,) = datamodule(root, classes="multi").val_dataloader()
    assert "mask" not in alone
    path = root / f"VOCdevkit/VOC2012/SegmentationClass/{STEMS[2]}.png"
    write_class_mask(path, *IMAGES[STEMS[2]])
    data = datamodule(root, classes="multi", image_size=(40, 60))
    expected = np.zeros((40, 60))
    expected[10:36, 23:58] = 1
    assert np.array_equal(data.dataset("val")[0]["mask"], expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_images_of_one_class_of_several_and_of_all(root, place):
    assert names(datamodule(root / place)) == [STEMS[0], STEMS[1], STEMS[3]]
    assert names(datamodule(root / place), "train") == STEMS[:2]
    assert names(datamodule(root / place, classes="multi")) == [STEMS[2]]
    assert names(datamodule(root / place, classes="all")) == STEMS
    with pytest.raises(DatasetNotFoundError, match="an image with multi classes"):
        datamodule(root / place, classes="multi").setup("fit")


def test_bad_boxes_are_counted_in_one_warning(root):
    objects = [("dog", (-4, 6, 30, 25)), ("dog", (70, 1, 80, 9)), ("dog", (5, 9, 4, 9))]
    write_xml(xml(root, 0), (40, 60), objects)
    write_xml(xml(root, 3), (45, 45), [("cow", (46, 1, 45, 20))])
    data = datamodule(root)
    with pytest.warns(UserWarning, match="boxes of the 3 images of the val split") as warned:
        data.setup("test")
    assert str(warned[0].message).splitlines()[1:] == [
        "  images without a box: 1",
        "  boxes that leave their image, clipped to it: 1",
        "  boxes without area in their image, left out: 3",
    ]
    (batch,) = data.test_dataloader()
    assert [tuple(boxes.shape) for boxes in batch["boxes"]] == [(1, 4), (2, 4), (0, 4)]
    assert batch["label"][2] == CLASSES.index("cow")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (truncate, "cannot read the annotation"),
        (lambda path: write_xml(path, (40, 60), [("unicorn", (1, 1, 9, 9))]), "unknown class 'unicorn'"),
        (lambda path: write_xml(path, (40, 60), []), "names no object"),
    ],
)
@pytest.mark.parametrize("classes", ["single", "all"])
def test_bad_annotations_stop_the_run_or_are_skipped(root, damage, problem, classes):
    path = xml(root, 1)
    damage(path)
    with pytest.raises(CorruptFileError, match=problem) as error:
        datamodule(root, classes=classes).setup("test")
    assert str(error.value).startswith(str(path))
    data = datamodule(root, classes=classes, on_error="skip")
    with pytest.warns(UserWarning, match=f"left out 1 of {3 if classes == 'single' else 4} images"):
        data.setup("test")
    assert [(item.name, problem in item.reason) for item in data.skipped] == [(STEMS[1], True)]
    assert STEMS[1] not in names(data)


@pytest.mark.parametrize(("mode", "size"), [("RGB", (60, 40)), ("L", (40, 60))])
def test_a_mask_of_another_kind_or_size(root, mode, size):
    path = root / f"VOCdevkit/VOC2012/SegmentationClass/{STEMS[0]}.png"
    Image.new(mode, size).save(path)
    with pytest.raises(CorruptFileError, match=r"the mask is 60×40|a mask must be") as error:
        datamodule(root).dataset("val")[0]
    assert str(error.value).startswith(str(path))


def test_pixels_stay_where_the_boxes_were_drawn(root):
    """An EXIF orientation is not applied: the people who drew the boxes did not see it."""
    path = root / f"VOCdevkit/VOC2012/JPEGImages/{STEMS[0]}.jpg"
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=95)
    sample = datamodule(root, image_size=(40, 60)).dataset("val")[0]
    assert sample["size"] == (40, 60)
    assert sample["image"][:, 8:22, 13:27].min() > 0.9
