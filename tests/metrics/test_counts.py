import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics.functional import fixation_counts
from salvit.metrics.functional.fixations import check_pool, fixation_indices, resized_pixels
from tests.metrics import reference
from tests.metrics.cases import examples, points_in

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@examples
@given(sizes=st.lists(shapes, max_size=4), shape=shapes, seed=st.integers(0, 2**32 - 1))
def test_counts_agree_with_the_reference(sizes, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    fixations = [points_in(size, 5 * i, generator) for i, size in enumerate(sizes)]
    counts = fixation_counts(fixations, sizes, shape)
    assert counts.dtype == torch.int64
    assert counts.tolist() == reference.counts([xy.tolist() for xy in fixations], sizes, shape)


def test_counts_of_parts_add_up():
    fixations = [points_in((6, 8), n, torch.Generator().manual_seed(n)) for n in (3, 0, 7)]
    whole = fixation_counts(fixations, [(6, 8)] * 3, (4, 5))
    parts = [fixation_counts([xy], [(6, 8)], (4, 5)) for xy in fixations]
    assert whole.equal(sum(parts))
    assert whole.sum() == 10


@examples
@given(shape=shapes, target=shapes)
def test_pixels_of_a_resized_map_are_those_of_its_pixel_centres(shape, target):
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    (expected,) = fixation_indices([torch.stack([x, y], -1).reshape(-1, 2)], [shape], target)
    assert resized_pixels(shape, target).tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8, torch.int64])
def test_pool_of_any_dtype(dtype):
    pool = check_pool(torch.tensor([[0, 200]], dtype=torch.int64).to(dtype))
    assert pool.dtype == torch.int64
    assert pool.tolist() == [[0, 200]]


@pytest.mark.parametrize("value", [-1.0, 0.5, torch.nan, torch.inf])
def test_pool_that_is_no_count_map(value):
    with pytest.raises(ValueError, match="pool holds negative, fractional or non-finite values"):
        check_pool(torch.tensor([[1.0, value]]))


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2), (0, 3)])
def test_pool_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"pool has shape .*expected one count map \[H, W\]"):
        check_pool(torch.zeros(shape))
