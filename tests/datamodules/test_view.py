"""Boxes and masks follow their image: a bright rectangle is drawn, and looked for in what the ViT gets."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform

from datamodules.base import center_crop, squash

sides = st.integers(8, 150)
RESIZES = {
    "squash": squash,
    "crop": center_crop,
    "crop all": partial(center_crop, crop_pct=1.0),
    "crop 0.9": partial(center_crop, crop_pct=0.9),
}


def drawn(size, box):
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = 255
    return Image.fromarray(pixels)


def edges_of(profile):
    """Where a plateau begins and ends, from the light that each pixel has of it: continuous edges."""
    profile = profile / profile.max()
    middle = int(profile.argmax())
    return middle + 0.5 - float(profile[: middle + 1].sum()) + 0.5, middle + float(profile[middle:].sum())


@pytest.mark.parametrize("resize", RESIZES.values(), ids=RESIZES)
@pytest.mark.parametrize("size", [(48, 48), (57, 41)])
@pytest.mark.parametrize(
    ("native", "box"),
    [((100, 180), (70, 30, 118, 71)), ((183, 97), (31, 62, 66, 120)), ((31, 37), (9, 9, 29, 22))],
)
def test_a_box_follows_what_is_drawn(resize, size, native, box):
    view = resize(native, size)
    shown = view.image(drawn(native, box))[0].numpy()
    assert shown.shape == size
    x0, y0, x1, y1 = view.boxes(np.array([box], dtype=float))[0].clip(0, np.array([size[1], size[0]] * 2))
    columns, rows = edges_of(shown.max(axis=0)), edges_of(shown.max(axis=1))
    assert np.allclose([columns[0], rows[0], columns[1], rows[1]], [x0, y0, x1, y1], atol=0.15)
    bright = np.argwhere(shown > 0.5)
    assert np.allclose([*bright.min(0)[::-1], *(bright.max(0)[::-1] + 1)], [x0, y0, x1, y1], atol=0.5 + 1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mask_follows_its_box_at_any_size(data):
    native, size = data.draw(st.tuples(sides, sides)), data.draw(st.tuples(sides, sides))
    x0, y0 = data.draw(st.integers(0, native[1] // 2)), data.draw(st.integers(0, native[0] // 2))
    box = (x0, y0, data.draw(st.integers(x0 + 3, native[1])), data.draw(st.integers(y0 + 3, native[0])))
    view = data.draw(st.sampled_from(list(RESIZES.values())))(native, size)
    mask = np.zeros(native, dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    seen = view.mask(mask).numpy()
    edges = view.boxes(np.array([box], dtype=float))[0]
    # A pixel belongs to the box if its centre is inside: nearest resizing says the same.
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    near = 1e-4 * max(size)
    certain = [np.abs(centre[:, None] - edges[axis::2]).min(1) > near for axis, centre in enumerate((x, y))]
    inside = ((y > edges[1]) & (y < edges[3]))[:, None] & ((x > edges[0]) & (x < edges[2]))
    assert seen.shape == size
    assert (seen == inside)[np.ix_(certain[1], certain[0])].all()


@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("size", [(48, 48), (40, 64), (57, 41)])
@pytest.mark.parametrize("native", [(100, 180), (183, 97), (60, 61), (31, 37)])
def test_crop_is_timms(native, size, crop_pct):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    image = image.resize(native[::-1], Image.Resampling.BICUBIC)
    transform = create_transform(
        (3, *size), interpolation="bilinear", crop_pct=crop_pct, mean=(0, 0, 0), std=(1, 1, 1)
    )
    assert (center_crop(native, size, crop_pct).image(image) - transform(image)).abs().max() < 1.6 / 255
