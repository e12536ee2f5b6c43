from functools import partial
from pathlib import Path

import pytest

from datamodules import ClassFolderDataModule, CorruptFileError, DatasetNotFoundError, ImageFolderDataModule
from datamodules.base import unique_names
from tests.datamodules.data.images import write_image

datamodule = partial(ImageFolderDataModule, image_size=16, batch_size=8, num_workers=0)


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(["i1.jpg", "i10.jpg", "i2.PNG", "cats/i1.jpg", ".thumbnails/i1.jpg"]):
        write_image(tmp_path / name, (20 + number, 30), number)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_in_natural_order_with_their_sizes_and_without_fixations(root):
    folder = datamodule(root)
    folder.setup("predict")
    (batch,) = folder.predict_dataloader()
    assert batch["name"] == ["cats__i1", "i1", "i2", "i10"]
    assert batch["size"] == [(23, 30), (20, 30), (22, 30), (21, 30)]
    assert batch["image"].shape == (4, 3, 16, 16)
    assert set(batch) == {"image", "name", "size", "index"}
    with pytest.raises(ValueError, match="has no fixations"):
        folder.dataset("predict").fixations(0)
    assert len(datamodule(root, recursive=False).dataset("predict")) == 3


def test_names_stay_unique():
    paths = ["a.jpg", "A.png", "b.jpg", "cats/a.jpg", "dogs/a.jpg"]  # some disks do not tell a from A
    assert unique_names([Path(path) for path in paths]) == ["a_jpg", "A_png", "b", "cats__a", "dogs__a"]
    with pytest.raises(ValueError, match=r"a\.jpg, a_jpg\.gif .* named 'a_jpg': rename all but one"):
        unique_names([Path("a.jpg"), Path("A.png"), Path("a_jpg.gif")])


def test_every_suffix_of_pillow_is_a_picture_and_what_it_cannot_read_is_counted(tmp_path):
    for name in ("a.jpe", "b.JPG", "c.tiff", "d.webp", "e.pgm", "f.PNG"):
        write_image(tmp_path / name, (20, 30))
    for name in ("g.heic", "H.CR2", "film.mpg", "scores.h5", "notes.txt"):
        (tmp_path / name).write_bytes(b"no picture")
    folder = datamodule(tmp_path, on_error="skip")
    with pytest.warns(
        UserWarning, match=r"left out 2 of 8 images(.|\n)*g\.heic: .* convert it to PNG or JPEG"
    ):
        folder.setup("predict")
    assert [item.image.name for item in folder.skipped] == ["H.CR2", "g.heic"]
    assert [folder.dataset("predict").name(index) for index in range(6)] == ["a", "b", "c", "d", "e", "f"]
    with pytest.raises(CorruptFileError, match=r"H\.CR2: "):
        list(datamodule(tmp_path).predict_dataloader())


@pytest.fixture
def classes(tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for number, name in enumerate(("dog", "cat")):
            for image in range(count):
                write_image(tmp_path / split / name / "images" / f"{image}.jpg", (20, 30), number)
    return tmp_path


def test_labels_are_places_among_the_sorted_classes_each_of_which_has_images(classes):
    data = ClassFolderDataModule(classes, image_size=16, batch_size=8, num_workers=0)
    assert data.class_names == ["cat", "dog"]
    (batch,) = data.val_dataloader()
    assert batch["name"] == ["cat__images__0", "dog__images__0"]
    assert batch["label"].tolist() == [0, 1]
    assert len(data.dataset("train")) == 6
    (classes / "val/dog/images/0.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match="class dog has none"):
        ClassFolderDataModule(classes, num_workers=0).setup("fit")
