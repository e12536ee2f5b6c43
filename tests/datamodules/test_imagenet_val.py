from functools import partial

import numpy as np
import pytest
import torch
from scipy.io import savemat
from timm.data import ImageNetInfo

from datamodules import CorruptFileError, ImageNetValDataModule
from tests.datamodules.data.imagenet import IMAGES, INDICES, make_imagenet, stem, write_kit
from tests.datamodules.data.images import assert_boxes_enclose, names
from tests.datamodules.data.xml import write_xml

datamodule = partial(ImageNetValDataModule, image_size=32, batch_size=8, num_workers=0)


GROUND_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


@pytest.fixture
def root(tmp_path):
    return make_imagenet(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("labels", "data"), [("kit", ""), ("csv", "Data/CLS-LOC"), ("folders", "ILSVRC/Data/CLS-LOC")]
)
def test_every_layout_says_the_same(tmp_path, labels, data):
    module = datamodule(make_imagenet(tmp_path, labels, data))
    (batch,) = module.test_dataloader()
    assert batch["name"] == [stem(number) for number in (1, 2, 3)]
    assert batch["label"].tolist() == INDICES
    assert [labels.tolist() for labels in batch["box_labels"]] == [[999], [0, 0], [281]]
    for boxes, ((height, width), _, drawn) in zip(batch["boxes"], IMAGES, strict=True):
        assert torch.allclose(boxes, torch.tensor(drawn) * torch.tensor([32 / width, 32 / height] * 2))
    assert set(batch) == {"image", "size", "name", "index", "label", "boxes", "box_labels"}


def test_labels_are_the_outputs_of_timms_models_also_where_images_are_missing(root):
    info = ImageNetInfo()
    assert [info.index_to_label_name(index) for index in INDICES] == [wnid for _, wnid, _ in IMAGES]
    names = datamodule(root).class_names
    assert len(names) == 1000
    assert [names[index] for index in (0, 281)] == ["tench, Tinca tinca", "tabby, tabby cat"]
    (root / f"val/{stem(1)}.JPEG").unlink()
    (batch,) = datamodule(root).test_dataloader()
    assert batch["label"].tolist() == INDICES[1:]


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_boxes_enclose_what_is_drawn(root, resize):
    assert_boxes_enclose(datamodule(root, resize=resize).dataset("test"))


def test_boxes_of_the_csv_of_copies_of_another_size_or_none(tmp_path):
    root = make_imagenet(tmp_path / "csv", "csv", boxes=False)
    dataset = datamodule(root, image_size=(51, 37)).dataset("test")
    assert dataset[1]["boxes"].tolist() == [[4, 9, 33, 40], [0, 0, 37, 8]]
    assert dataset[1]["box_labels"].tolist() == [0, 0]
    root = make_imagenet(tmp_path / "kit", boxes=False)
    module = datamodule(root)
    with pytest.warns(UserWarning, match="images without a box: 3"):
        module.setup("test")
    (batch,) = module.test_dataloader()
    assert [boxes.shape for boxes in batch["boxes"]] == [(0, 4)] * 3
    assert batch["label"].tolist() == INDICES
    root = make_imagenet(tmp_path / "copies")
    write_xml(root / f"Annotations/CLS-LOC/val/{stem(1)}.xml", (80, 120), [("n15075141", (20, 10, 60, 50))])
    with pytest.warns(UserWarning, match="which are rescaled: 1"):
        dataset = datamodule(root, image_size=(40, 60)).dataset("test")
    assert dataset[0]["boxes"].tolist() == [[10, 5, 30, 25]]


def test_a_limited_number_is_drawn_and_only_these_are_read(root):
    def drawn(**options):
        return names(datamodule(root, **options))

    every = [stem(number) for number in (1, 2, 3)]
    assert drawn(limit=2) == sorted(drawn(limit=2))
    assert len({tuple(drawn(limit=2, seed=seed)) for seed in range(20)}) == 3
    assert set(drawn(limit=1)) < set(drawn(limit=2)) < set(drawn(limit=5)) == set(every)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        datamodule(root, limit=0)
    (kept,) = drawn(limit=1)
    for path in (root / "Annotations/CLS-LOC/val").iterdir():
        if path.stem != kept:
            path.unlink()
    assert drawn(limit=1) == [kept]


def test_a_folder_of_an_unknown_wnid(tmp_path):
    root = make_imagenet(tmp_path, "folders")
    (root / "val/n01440764").rename(root / "val/n99999999")
    with pytest.raises(CorruptFileError, match=r"val/n99999999: n99999999 is no wnid"):
        datamodule(root).setup("test")
    module = datamodule(root, on_error="skip")
    with pytest.warns(UserWarning, match="left out 1 of 3"):
        assert len(module.dataset("test")) == 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("", "nothing is no wnid"),
        (f"{stem(2)},n99999999 1 2 3 4 \n", "n99999999 is no wnid"),
        (f"{stem(2)},n01440764 1 2 3 4 n01440764\n", "expected objects as"),
        (f"{stem(2)},n01440764 1 2 x 4 \n", "expected objects as"),
    ],
)
def test_bad_rows_of_the_csv(tmp_path, row, problem):
    root = make_imagenet(tmp_path, "csv", boxes=False)
    path = root / "LOC_val_solution.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row if line.startswith(stem(2)) else line for line in lines))
    with pytest.raises(CorruptFileError, match=problem) as error:
        datamodule(root).setup("test")
    assert str(error.value).startswith(str(path))
    with pytest.warns(UserWarning, match="left out 1 of 3"):
        datamodule(root, on_error="skip").setup("test")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([1, 2], f"has 2 lines, none of them for .*{stem(3)}"),
        ([1, 2, 7], "expected a number of a class"),
        ([1, "", 2, 3], "expected a number of a class"),
    ],
)
def test_another_ground_truth_is_an_error_also_when_skipping(root, lines, problem):
    write_kit(root / "ILSVRC2012_devkit_t12/data", lines)
    with pytest.raises(CorruptFileError, match=problem) as error:
        datamodule(root, on_error="skip").setup("test")
    assert str(error.value).startswith(str(root / GROUND_TRUTH))


def test_other_files_than_the_expected_are_named(tmp_path):
    root = make_imagenet(tmp_path / "csv", "csv", boxes=False)
    for contents in (b"a,b\n1,2\n", b"\xff\xfe\x00"):
        (root / "LOC_val_solution.csv").write_bytes(contents)
        with pytest.raises(CorruptFileError, match=r"LOC_val_solution\.csv"):
            datamodule(root).setup("test")
    root = make_imagenet(tmp_path / "kit")
    savemat(root / "ILSVRC2012_devkit_t12/data/meta.mat", {"synsets": np.ones((2, 2))})
    with pytest.raises(CorruptFileError, match=r"meta\.mat: expected synsets"):
        datamodule(root).setup("test")
    root = make_imagenet(tmp_path / "image")
    (root / f"val/{stem(3)}.JPEG").rename(root / "val/cat.JPEG")
    with pytest.raises(CorruptFileError, match=r"none of them for .*cat\.JPEG"):
        datamodule(root, on_error="skip").setup("test")
