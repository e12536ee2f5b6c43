import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from salvit.results.kept import (
    ATTENTION_BYTES,
    attention_text,
    from_text,
    on_grid,
    pooling,
    small_photo,
    spread,
    to_text,
)
from tests.attention_file import read_attention_text


@given(st.integers(0, 500), st.integers(1, 120))
def test_images_are_spread_evenly_and_none_is_taken_twice(total, count):
    chosen = spread(total, count)
    assert len(set(chosen)) == len(chosen) == min(total, count)
    assert all(0 <= index < total for index in chosen)
    steps = np.diff(chosen)
    assert not len(steps) or steps.max() - steps.min() <= 1


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_map_comes_back_in_its_proportions_whatever_its_scale(scale):
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) * scale
    found = from_text(to_text(values), (3, 5))
    assert found == pytest.approx((values / values.abs().max()).numpy(), abs=1e-3)


def test_a_map_of_zeros_stays_zero():
    assert from_text(to_text(torch.zeros(1, 2)), (1, 2)).tolist() == [[0, 0]]


def test_a_map_is_averaged_over_the_cells_of_the_grid():
    saliency = torch.arange(16.0).reshape(1, 4, 4)
    assert on_grid(saliency, (2, 2)).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]


def test_a_photograph_is_at_most_as_large_as_asked():
    photo = Image.open(io.BytesIO(base64.b64decode(small_photo(Image.new("RGB", (400, 200)), 100))))
    assert (photo.format, photo.size) == ("JPEG", (100, 50))


def attention(blocks, heads, tokens):
    rows = torch.rand(blocks, heads, tokens, tokens, generator=torch.Generator().manual_seed(0))
    return list(rows / rows.sum(-1, keepdim=True))


def test_attention_comes_back_within_half_a_step_of_its_rows():
    rows = attention(2, 3, 13)
    found = read_attention_text(attention_text(rows, 1, (3, 4), 1), (2, 3, 13))
    steps = torch.stack(rows).amax(-1, keepdim=True) / 255
    assert bool((torch.stack(rows) - torch.from_numpy(found)).abs().le(steps * 0.51).all())


def test_pooled_attention_is_the_mean_over_queries_of_the_sum_over_keys():
    [rows] = attention(1, 1, 1 + 3 * 3)
    found = read_attention_text(attention_text([rows], 1, (3, 3), 2), (1, 1, 5))
    assert found.sum(-1) == pytest.approx(np.ones((1, 1, 5)), abs=0.02)
    first, last = [1, 2, 4, 5], [9]  # tokens of the first and last group of patches
    assert found[0, 0, 1, 4] == pytest.approx(float(rows[0][first][:, last].sum(1).mean()), abs=2e-3)
    assert found[0, 0, 0, 1] == pytest.approx(float(rows[0][0, first].sum()), abs=2e-3)


@pytest.mark.parametrize("grid", [(14, 14), (37, 50), (100, 100)])
def test_attention_always_fits(grid):
    side, count = pooling(24, 16, 5, grid)
    tokens = 5 + -(-grid[0] // side) * -(-grid[1] // side)
    assert 24 * 16 * tokens**2 * count <= ATTENTION_BYTES
