import pytest

from datamodules import ClassFolderDataModule, DatasetNotFoundError
from tests.datamodules.data.images import write_image


@pytest.fixture
def root(tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for number, name in enumerate(("dog", "cat")):
            for image in range(count):
                write_image(tmp_path / split / name / "images" / f"{image}.jpg", (20, 30), number)
    return tmp_path


def datamodule(root, **options):
    return ClassFolderDataModule(root, image_size=16, batch_size=8, num_workers=0, **options)


def test_labels_are_places_among_the_sorted_classes(root):
    data = datamodule(root)
    assert data.class_names == ["cat", "dog"]
    (batch,) = data.val_dataloader()
    assert batch["name"] == ["cat__images__0", "dog__images__0"]
    assert batch["label"].tolist() == [0, 1]
    assert len(data.dataset("train")) == 6


def test_a_class_without_images_is_named(root):
    (root / "val/dog/images/0.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match="class dog has none"):
        datamodule(root).setup("fit")
