import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from salvit.extractors import RawAttention, UnsupervisedMap
from salvit.extractors.attention import heaviest, smooth


def reference(attention, mass, sigma):
    """Patches collected from the strongest down until they hold the mass; each adds its own Gaussian."""
    left, kept = attention.copy(), []
    while sum(attention[place] for place in kept) < mass * attention.sum():
        kept.append(np.unravel_index(left.argmax(), left.shape))
        left[kept[-1]] = -1
    density = np.zeros_like(attention)
    for y, x in kept:
        for row in range(density.shape[0]):
            for column in range(density.shape[1]):
                density[row, column] += np.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
    return density / density.sum()


@pytest.mark.parametrize(("mass", "sigma"), [(0.9, 1.0), (0.5, 0.4), (0.1, 2.0)])
def test_matches_slow_reference(vit, images, mass, sigma):
    attention = RawAttention()(vit, images)[:, 0].numpy()
    expected = np.stack([reference(one, mass, sigma) for one in attention])
    maps = UnsupervisedMap(mass, sigma)(vit, images)
    assert maps.shape == (3, 1, 4, 6)
    np.testing.assert_allclose(maps[:, 0], expected, rtol=1e-9)


def test_smoothing_is_a_gaussian_filter():
    impulse = torch.zeros(15, 21, dtype=torch.float64)
    impulse[3, 18] = impulse[8, 2] = 1
    expected = gaussian_filter(impulse.numpy(), 1.5, mode="constant", truncate=30)
    found = smooth(impulse, 1.5).numpy()
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(smooth(impulse, 1e-30), impulse)  # of no width


def test_threshold():
    weights = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    assert heaviest(weights, 0.69).tolist() == [[False, True, True, False]]
    assert heaviest(weights, 0.71).tolist() == [[False, True, True, True]]
    assert heaviest(weights, 1e-9).tolist() == [[False, True, False, False]]
    exact = torch.tensor([[0.25, 0.5, 0.25]])
    assert heaviest(exact, 0.5).tolist() == [[False, True, False]]  # half of it holds half
    assert heaviest(exact, 0.75).tolist() == [[True, True, False]]  # of equal ones the first
