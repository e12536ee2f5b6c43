import warnings
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datamodules.base import Annotation, center_crop, mirrored, see_boxes, squash, warn_boxes

sides = st.integers(1, 400)
coordinates = st.one_of(
    st.floats(-500, 900, width=32),
    st.integers(-5, 400).map(float),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)


def annotation(boxes, size=None, labels=None):
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Annotation(0, boxes, np.arange(len(boxes)) if labels is None else labels, size)


@given(
    boxes=hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(4)), elements=coordinates),
    native=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    drawn=st.one_of(st.none(), st.tuples(sides, sides)),
    resize=st.sampled_from([squash, center_crop, partial(center_crop, crop_pct=1.0)]),
)
def test_any_boxes_end_up_inside_and_ordered(boxes, native, size, drawn, resize):
    seen = see_boxes(annotation(boxes, drawn), resize(native, size))
    x0, y0, x1, y1 = seen.boxes.unbind(1)
    assert seen.boxes.dtype == torch.float32
    assert seen.labels.dtype == torch.int64
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= size[1])).all()
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= size[0])).all()
    assert len(seen.labels) == len(seen.boxes)
    assert len(seen.boxes) + seen.counts["empty"] + seen.counts["unseen"] == len(boxes)
    assert seen.counts["clipped"] <= len(boxes) - seen.counts["empty"]
    assert seen.counts["without"] == int(len(seen.boxes) == 0)


def test_what_happens_to_each_box_is_counted():
    boxes = [
        [10, 10, 20, 20],
        [-5, 10, 20, 20],  # clipped
        [90, 10, 130, 20],  # clipped
        [10, 10, 10, 20],  # no area
        [20, 10, 10, 20],  # reversed
        [100, 10, 120, 20],  # beside the image
        [np.nan, 10, 20, 20],
    ]
    seen = see_boxes(annotation(boxes), squash((50, 100), (50, 50)))
    assert +seen.counts == Counter(clipped=2, empty=4)
    assert seen.labels.tolist() == [0, 1, 2]
    assert seen.boxes.tolist() == [[5, 10, 10, 20], [0, 10, 10, 20], [45, 10, 50, 20]]


def test_what_the_crop_does_not_show_is_left_out_and_boxes_of_another_size_are_rescaled():
    view = center_crop((40, 80), (40, 40), crop_pct=1.0)  # shows columns 20 to 60
    seen = see_boxes(annotation([[0, 0, 20, 40], [10, 0, 30, 40], [59, 39, 80, 40]]), view)
    assert seen.boxes.tolist() == [[0, 0, 10, 40], [39, 39, 40, 40]]
    assert seen.labels.tolist() == [1, 2]
    assert +seen.counts == Counter(unseen=1)
    seen = see_boxes(annotation([[10, 10, 20, 30]], size=(50, 100)), squash((100, 400), (100, 400)))
    assert seen.boxes.tolist() == [[40, 20, 80, 60]]
    assert +seen.counts == Counter(rescaled=1)


def test_one_warning_says_it_all():
    counts = Counter(without=2, clipped=3, empty=0)
    with pytest.warns(
        UserWarning, match="9 images of the val split:\n  images without a box: 2\n  boxes that .*: 3"
    ) as warned:
        warn_boxes(counts, 9, "val")
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_boxes(Counter(empty=0), 9, "val")


def test_mirrored_boxes_and_masks_stay_on_their_object():
    image = torch.zeros(3, 10, 16)
    image[:, 2:5, 3:9] = 1
    sample = {
        "image": image,
        "boxes": torch.tensor([[3.0, 2.0, 9.0, 5.0], [0.0, 0.0, 0.5, 1.0]]),
        "mask": image[0],
        "items": image[0].byte(),
    }
    flipped = mirrored(sample)
    assert flipped["boxes"].tolist() == [[7, 2, 13, 5], [15.5, 0, 16, 1]]
    assert flipped["image"][:, 2:5, 7:13].sum() == image.sum()
    assert torch.equal(flipped["mask"], flipped["image"][0])
    assert torch.equal(flipped["items"], flipped["image"][0].byte())
    assert mirrored({"image": image, "mask": None})["mask"] is None
    assert sample["boxes"][0, 0] == 3
