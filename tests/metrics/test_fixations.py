import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics.functional import fixation_counts
from salvit.metrics.functional.fixations import check_pool, fixation_indices
from tests.metrics import reference
from tests.metrics.cases import examples, points_in

sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def points(*xy):
    return torch.tensor(xy, dtype=torch.float32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("x", "column"), [(-0.5, 0), (0.49, 0), (0.5, 1), (1.0, 1), (1.4999, 1), (2.49, 2), (0.49999997, 0)]
)
def test_pixel_centres_are_at_integers(x, column):
    (index,) = fixation_indices([points((x, 0))], [(1, 3)])
    assert index.tolist() == [column]


def test_points_are_x_then_y_and_indices_row_major_in_images_of_different_sizes():
    fixations = [points((3, 1)), points(), points((2, 0), (2, 0))]
    indices = fixation_indices(fixations, [(2, 5), (1, 1), (1, 3)])
    assert [index.tolist() for index in indices] == [[1 * 5 + 3], [], [2, 2]]


@examples
@given(size=sizes, target=sizes, seed=st.integers(0, 2**32 - 1))
def test_rescaling_agrees_with_exact_arithmetic(size, target, seed):
    xy = points_in(size, 8, torch.Generator().manual_seed(seed))
    xy[:4] = xy[:4].round().clamp(min=0)
    (index,) = fixation_indices([xy], [size], target)
    expected = [reference.pixel(point, size, target) for point in xy.tolist()]
    assert [divmod(i, target[1]) for i in index.tolist()] == expected


def test_coordinates_are_read_in_float32_whatever_they_come_in():
    assert fixation_indices([points((2, 1)).to(torch.int64)], [(2, 3)])[0].tolist() == [5]
    just_below_the_edge = torch.tensor([[0.5 - 1e-12, 0.0]], dtype=torch.float64)
    assert fixation_indices([just_below_the_edge], [(1, 3)])[0].tolist() == [1]


@pytest.mark.parametrize("outside", [(2.5, 0), (0, 1.5), (-0.51, 0), (0, -1), (math.nan, 0), (0, math.inf)])
def test_point_outside_names_image_and_point(outside):
    fixations = [points((0, 0), (1, 1)), points(), points((0, 0), outside, (99, 99))]
    with pytest.raises(ValueError, match=r"fixation \((.*), (.*)\) of image 2 lies outside its 2×3") as error:
        fixation_indices(fixations, [(2, 3)] * 3)
    assert f"({outside[0]:g}, {outside[1]:g})" in str(error.value)


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 1, 2)])
def test_wrong_shape_names_the_image(shape):
    with pytest.raises(ValueError, match=r"fixations of image 1 have shape .*expected \[n, 2\]"):
        fixation_indices([points(), torch.zeros(shape)], [(2, 3)] * 2)
    with pytest.raises(ValueError, match="fixations has 1 entries for 2 images"):
        fixation_indices([points()], [(2, 3)] * 2)


@examples
@given(sizes=st.lists(shapes, max_size=4), shape=shapes, seed=st.integers(0, 2**32 - 1))
def test_counts_agree_with_the_reference(sizes, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    fixations = [points_in(size, 5 * i, generator) for i, size in enumerate(sizes)]
    counts = fixation_counts(fixations, sizes, shape)
    assert counts.dtype == torch.int64
    assert counts.tolist() == reference.counts([xy.tolist() for xy in fixations], sizes, shape)


def test_pool_is_a_count_map_of_any_dtype():
    for dtype in (torch.float16, torch.uint8, torch.int64):
        pool = check_pool(torch.tensor([[0, 200]]).to(dtype))
        assert (pool.dtype, pool.tolist()) == (torch.int64, [[0, 200]])
    for value in (-1, 0.5, torch.nan):
        with pytest.raises(ValueError, match="negative, fractional or non-finite"):
            check_pool(torch.tensor([[1.0, value]]))
    for shape in ((4,), (0, 3)):
        with pytest.raises(ValueError, match=r"pool has shape .*expected one count map \[H, W\]"):
            check_pool(torch.zeros(shape))
