import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from datamodules.base import fixation_density, inside

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40) | st.integers(90, 310))


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(0, 12), st.floats(0.3, 30), st.integers(0, 99))
def test_equals_scipys_filter_of_the_binary_map(size, count, sigma, seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, (size[1] - 0.51, size[0] - 0.51), (count, 2)).astype(np.float32)
    binary = np.zeros(size)
    column, row = np.floor(points.astype(np.float64) + 0.5).astype(int).T
    binary[row, column] = 1
    blurred = gaussian_filter(binary, sigma, mode="reflect")
    density = fixation_density(torch.from_numpy(points), size, sigma)
    assert density.dtype == torch.float32
    assert density.min() >= 0
    assert np.allclose(density, blurred / max(blurred.sum(), 1e-300), rtol=1e-4, atol=1e-9)


def test_repeated_fixations_count_once_and_none_have_no_mass():
    once = torch.tensor([[3.0, 2.0], [7.0, 5.0]])
    assert torch.equal(fixation_density(once[[0, 0, 1]], (9, 11), 1.5), fixation_density(once, (9, 11), 1.5))
    assert torch.equal(fixation_density(torch.empty(0, 2), (3, 4), 1.0), torch.zeros(3, 4))
    for sigma in (0.0, float("nan")):
        with pytest.raises(ValueError, match="sigma"):
            fixation_density(torch.zeros(1, 2), (3, 4), sigma)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 9), st.just(2))), sizes)
def test_what_is_kept_has_a_pixel(points, size):
    kept = inside(points, size).astype(np.float32).astype(np.float64)
    pixels = np.floor(kept + 0.5)
    assert ((pixels >= 0) & (pixels < (size[1], size[0]))).all()


def test_edges():
    x = np.array([-0.51, -0.5, 3.49, 3.4999999999, 3.5, np.nan, np.inf])  # float32 rounds the fourth to 3.5
    assert inside(np.stack([x, np.ones(7)], axis=1), (3, 4))[:, 0].tolist() == [-0.5, 3.49]
