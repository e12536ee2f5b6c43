import time

import pytest
import torch

from datamodules.base import collate, track


def sample(index, size=(6, 8), count=3, **extra):
    return {
        "image": torch.full((3, 4, 5), float(index)),
        "density": torch.full(size, 1 / (size[0] * size[1])),
        "fixations": torch.ones(count, 2),
        "size": size,
        "name": f"image{index}",
        "index": index,
        **extra,
    }


def test_equal_sizes_are_stacked():
    batch = collate([sample(0), sample(1, count=0)])
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["density"].shape == (2, 6, 8)
    assert [tuple(points.shape) for points in batch["fixations"]] == [(3, 2), (0, 2)]
    assert batch["size"] == [(6, 8), (6, 8)]
    assert batch["name"] == ["image0", "image1"]
    assert batch["index"].dtype == torch.int64
    assert batch["index"].tolist() == [0, 1]


def test_densities_of_unequal_sizes_stay_a_list():
    batch = collate([sample(0), sample(1, size=(7, 8))])
    assert [tuple(density.shape) for density in batch["density"]] == [(6, 8), (7, 8)]


def test_labels_masks_and_boxes():
    extra = {"mask": torch.ones(4, 5), "labels": torch.ones(7)}
    boxes = [{"boxes": torch.ones(n, 4), "box_labels": torch.zeros(n, dtype=torch.int64)} for n in (2, 0)]
    batch = collate([sample(0, label=3, **extra, **boxes[0]), sample(1, label=1, **extra, **boxes[1])])
    assert batch["label"].dtype == torch.int64
    assert batch["label"].tolist() == [3, 1]
    assert (batch["mask"].shape, batch["labels"].shape) == ((2, 4, 5), (2, 7))
    assert [tuple(boxes.shape) for boxes in batch["boxes"]] == [(2, 4), (0, 4)]
    assert [len(labels) for labels in batch["box_labels"]] == [2, 0]


def test_a_mask_may_be_missing():
    batch = collate([sample(0, mask=None), sample(1, mask=torch.ones(4, 5))])
    assert batch["mask"][0] is None
    assert torch.equal(batch["mask"][1], torch.ones(4, 5))


def test_keys_must_agree():
    with pytest.raises(ValueError, match="label"):
        collate([sample(0), sample(1, label=1)])


def test_nothing_to_collate():
    with pytest.raises(ValueError, match="empty"):
        collate([])


def test_a_quick_loop_shows_nothing(capsys):
    assert list(track(range(3), "checking", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_slow_loop_shows_its_count(capsys):
    for _ in track(range(3), "checking", 3, delay=0.05):
        time.sleep(0.15)
    shown = capsys.readouterr().err
    assert "checking" in shown
    assert "2/3" in shown


def test_an_error_inside_the_loop_ends_it():
    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError, match="0"):
        list(track(map(fail, range(3)), "checking", 3))
