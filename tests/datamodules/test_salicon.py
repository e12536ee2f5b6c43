import json
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from datamodules import CorruptFileError, DatasetNotFoundError, SaliconDataModule
from datamodules.base import mirrored
from tests.datamodules.data.images import assert_density, truncate, write_noise
from tests.datamodules.data.salicon import (
    SIZE,
    make_salicon,
    make_salicon_2015,
    observers,
    stem,
    write_gaze,
)

datamodule = partial(SaliconDataModule, image_size=16, batch_size=2, num_workers=0)


@pytest.fixture
def root(tmp_path):
    return make_salicon(tmp_path)


def test_samples_are_complete_and_in_order(root):
    dataset = datamodule(root).dataset("train")
    assert [dataset.name(index) for index in range(3)] == [stem("train", number) for number in (1, 2, 3)]
    sample = dataset[1]
    assert set(sample) == {"image", "density", "fixations", "size", "name", "index"}
    assert (sample["image"].shape, sample["image"].dtype) == ((3, 16, 16), torch.float32)
    assert 0 <= sample["image"].min() < sample["image"].max() <= 1
    assert sample["size"] == SIZE
    assert sample["fixations"].dtype == torch.float32
    assert np.array_equal(sample["fixations"], np.concatenate(observers(2)).astype(float) - 1)
    for points, recorded in zip(dataset.observers(1), observers(2), strict=True):
        assert np.array_equal(points, recorded.astype(float) - 1)
    assert_density(sample["density"], root / f"maps/train/{stem('train', 2)}.png")


def test_fixations_beside_the_split_folders_or_the_images(tmp_path):
    root = make_salicon(tmp_path / "2017", fixations="{split}")
    assert len(datamodule(root).dataset("val")[0]["fixations"]) == 11
    root = make_salicon_2015(tmp_path / "2015", folder=".")
    assert len(datamodule(root, release="2015").dataset("val")) == 2


def test_predict_takes_the_test_images(tmp_path):
    salicon = datamodule(make_salicon(tmp_path, test=2))
    salicon.setup("predict")
    batch = next(iter(salicon.predict_dataloader()))
    assert batch["name"] == [stem("test", 1), stem("test", 2)]
    assert "fixations" not in batch
    assert salicon.dataset("test") is salicon.dataset("val")


def test_options_are_saved_so_that_checkpoints_are_readable(root, tmp_path):
    torch.save(dict(datamodule(root, hflip=True).hparams), tmp_path / "options.pt")
    options = torch.load(tmp_path / "options.pt", weights_only=True)
    assert {"root": str(root), "image_size": 16, "hflip": True}.items() <= options.items()


def test_2015_release(tmp_path):
    dataset = datamodule(make_salicon_2015(tmp_path), release="2015").dataset("train")
    sample = dataset[1]
    assert sample["name"] == stem("train", 2)
    assert np.array_equal(sample["fixations"], np.concatenate(observers(2)).astype(float) - 1)
    binary = np.zeros(SIZE)
    column, row = (np.concatenate(observers(2)).astype(int) - 1).T
    binary[row, column] = 1
    blurred = gaussian_filter(binary, 19, mode="reflect")
    assert np.allclose(sample["density"], blurred / blurred.sum(), rtol=1e-5)


def test_only_training_samples_are_mirrored_with_all_they_have(root):
    data = datamodule(root, hflip=True)
    plain = data.dataset("train")[0]
    assert "mirrored" not in plain
    samples = data.train_dataloader().dataset
    assert torch.equal(samples[0]["image"], plain["image"])
    assert samples[0]["mirrored"] is False
    flipped = samples[3]
    assert flipped["mirrored"] is True
    loader = data.train_dataloader()
    taken = set()
    for epoch in range(10):
        loader.sampler.set_epoch(epoch)
        taken |= {mirror for batch in loader for mirror in batch["mirrored"]}
    assert taken == {True, False}
    assert not any("mirrored" in batch for batch in data.val_dataloader())
    for key in ("image", "density"):
        assert torch.equal(flipped[key], plain[key].flip(-1))
    assert torch.equal(flipped["fixations"][:, 0], 63 - plain["fixations"][:, 0])
    assert torch.equal(flipped["fixations"][:, 1], plain["fixations"][:, 1])
    on_the_edge = mirrored({"size": (3, 4), "fixations": torch.tensor([[-0.5, 1.0]])})["fixations"]
    assert (on_the_edge + 0.5).floor().tolist() == [[3.0, 1.0]]


def test_root_from_the_environment_and_hidden_files_are_no_stimuli(root, monkeypatch):
    monkeypatch.setenv("SALVIT_SALICON_ROOT", str(root))
    (root / "images/train/._COCO_train2014_1.jpg").write_bytes(b"macOS")
    assert len(datamodule(None).dataset("train")) == 3
    assert len(datamodule(make_salicon(root / "other", train=1)).dataset("train")) == 1


@pytest.mark.parametrize("kind", ["images", "maps", "fixations"])
def test_truncated_file_or_map_of_another_size_is_named(root, kind):
    path = truncate(next((root / kind / "val").iterdir()))
    with pytest.raises(CorruptFileError, match=str(path)):
        list(datamodule(root).val_dataloader())
    path = write_noise(root / f"maps/train/{stem('train', 1)}.png", (64, 48), seed=0)
    with pytest.raises(CorruptFileError, match=f"{path}: the map is 64×48 but its image"):
        datamodule(root).dataset("train")[0]


@pytest.mark.slow  # torch waits 5 s for a worker that has failed
def test_error_of_a_worker_names_the_file(root):
    path = truncate(next((root / "images/val").iterdir()))
    salicon = SaliconDataModule(root, num_workers=1)
    with pytest.raises(CorruptFileError, match=path.name):
        list(salicon.val_dataloader())


def test_bad_files_are_skipped_and_counted(root):
    truncate(root / f"images/train/{stem('train', 1)}.jpg")
    (root / f"maps/train/{stem('train', 2)}.png").unlink()
    (root / f"fixations/val/{stem('val', 2)}.mat").write_bytes(b"<html>404</html>")
    salicon = datamodule(root, on_error="skip")
    with pytest.warns(UserWarning, match="left out") as warned:
        salicon.setup("fit")
    messages = [str(warning.message) for warning in warned]
    assert [message.splitlines()[0] for message in messages] == [
        "left out 2 of 3 images of the train split:",
        "left out 1 of 2 images of the val split:",
    ]
    assert f"{stem('train', 1)}.jpg: cannot read" in messages[0]
    assert [item.name for item in salicon.skipped] == [stem("train", 1), stem("train", 2), stem("val", 2)]
    assert [batch["name"] for batch in salicon.train_dataloader()] == [[stem("train", 3)]]


def test_nothing_bad_nothing_skipped_and_all_bad_is_an_error(root):
    salicon = datamodule(root, on_error="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (len(salicon.dataset("train")), salicon.skipped) == (3, [])
    for path in (root / "images/val").iterdir():
        truncate(path)
    with pytest.raises(CorruptFileError, match=r"no image of the val split can be used.*COCO_val2014"):
        datamodule(root, on_error="skip").setup("validate")


def test_fixations_outside_the_image_are_dropped_and_counted_and_there_may_be_none(root):
    outside = np.array([[0, 5], [65, 5], [5, 49], [5, 5]], dtype=np.uint16)
    path = write_gaze(root / f"fixations/val/{stem('val', 1)}.mat", [outside])
    salicon = datamodule(root)
    assert salicon.dataset("val")[0]["fixations"].tolist() == [[4.0, 4.0]]
    with pytest.warns(UserWarning, match="3 fixations of the val split lie outside"):
        assert salicon.fixation_counts("val", SIZE).sum() == 1 + 11
    write_gaze(path, [np.empty((0, 0)), np.empty((0, 2))])
    Image.new("L", SIZE[::-1]).save(root / f"maps/val/{stem('val', 1)}.png")
    batch = next(iter(datamodule(root).val_dataloader()))
    assert [len(points) for points in batch["fixations"]] == [0, 11]
    assert batch["density"].sum(dim=(1, 2)).tolist() == pytest.approx([0, 1])


def test_2015_image_that_the_annotations_do_not_mention(tmp_path):
    root = make_salicon_2015(tmp_path)
    path = root / "annotations/fixations_val2014.json"
    contents = json.loads(path.read_text())
    contents["images"].pop()
    contents["annotations"] = [item for item in contents["annotations"] if item["image_id"] == 1]
    path.write_text(json.dumps(contents))
    with pytest.raises(DatasetNotFoundError, match=f"{stem('val', 2)} in .*missing images: 1"):
        datamodule(root, release="2015").setup("validate")
    with pytest.warns(UserWarning, match=f"does not mention the image {stem('val', 2)}"):
        assert len(datamodule(root, release="2015", on_error="skip").dataset("val")) == 1
    path.unlink()
    with pytest.raises(DatasetNotFoundError, match=rf"{path.name} \(no such file\)"):
        datamodule(root, release="2015").setup("validate")
