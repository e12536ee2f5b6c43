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


def labelled(index, boxes):
    extra = {"mask": torch.ones(4, 5), "labels": torch.ones(7), "boxes": torch.ones(boxes, 4)}
    return sample(index, label=index + 2, **extra, box_labels=torch.zeros(boxes, dtype=torch.int64))


def test_what_is_stacked_and_what_stays_a_list():
    batch = collate([labelled(0, boxes=2), {**labelled(1, boxes=0), "fixations": torch.ones(0, 2)}])
    shapes = {"image": (2, 3, 4, 5), "density": (2, 6, 8), "mask": (2, 4, 5), "labels": (2, 7)}
    assert {key: batch[key].shape for key in shapes} == shapes
    for key, lengths in (("fixations", [3, 0]), ("boxes", [2, 0]), ("box_labels", [2, 0])):
        assert [len(values) for values in batch[key]] == lengths
    assert (batch["size"], batch["name"]) == ([(6, 8), (6, 8)], ["image0", "image1"])
    assert batch["index"].dtype == batch["label"].dtype == torch.int64
    assert (batch["index"].tolist(), batch["label"].tolist()) == ([0, 1], [2, 3])


def test_densities_of_unequal_sizes_and_masks_of_which_one_is_missing_stay_lists():
    batch = collate([sample(0, mask=None), sample(1, size=(7, 8), mask=torch.ones(4, 5))])
    assert [tuple(density.shape) for density in batch["density"]] == [(6, 8), (7, 8)]
    assert batch["mask"][0] is None
    assert torch.equal(batch["mask"][1], torch.ones(4, 5))


@pytest.mark.parametrize(("samples", "problem"), [([sample(0), sample(1, label=1)], "label"), ([], "empty")])
def test_what_cannot_be_collated(samples, problem):
    with pytest.raises(ValueError, match=problem):
        collate(samples)


def test_a_slow_loop_shows_its_count_and_a_quick_one_nothing(capsys):
    assert list(track(range(3), "checking", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    for _ in track(range(3), "checking", 3, delay=0.05):
        time.sleep(0.15)
    shown = capsys.readouterr().err
    assert "checking" in shown
    assert "2/3" in shown
