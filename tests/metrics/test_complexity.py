"""Sparseness and complexity against their definitions in loops, and against quantus."""

import math

import numpy as np
import pytest
import torch

from salvit.metrics import Complexity
from salvit.metrics.functional import complexity, sparseness


@pytest.fixture
def maps():
    return torch.randn(4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_agree_with_loops_over_pixels(maps):
    for index, heatmap in enumerate(maps):
        values = heatmap.abs().flatten().tolist()
        total, n = sum(values), len(values)
        # Half the mean absolute difference of two pixels, relative to the mean.
        gini = sum(abs(a - b) for a in values for b in values) / (2 * n * total)
        entropy = -sum(value / total * math.log(value / total) for value in values)
        assert sparseness(maps, (5, 6))[index].item() == pytest.approx(gini)
        assert complexity(maps, (5, 6))[index].item() == pytest.approx(entropy)


def test_agree_with_quantus(maps):
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    batch = maps.abs()[:, None].numpy()
    expected = quantus.Sparseness(disable_warnings=True).evaluate_batch(x_batch=batch, a_batch=batch.copy())
    np.testing.assert_allclose(sparseness(maps, (5, 6)), expected, atol=1e-6)
    expected = quantus.Complexity(disable_warnings=True).evaluate_batch(x_batch=batch, a_batch=batch.copy())
    np.testing.assert_allclose(complexity(maps, (5, 6)), expected, atol=1e-6)


def test_heatmaps_are_resized_scale_and_sign_do_not_matter_and_those_of_zeros_are_skipped(maps):
    large = torch.nn.functional.interpolate(maps[:, None], (20, 30), mode="bilinear")[:, 0]
    assert sparseness(maps, (20, 30)).equal(sparseness(large, (20, 30)))
    torch.testing.assert_close(complexity(maps * -1e300, (5, 6)), complexity(maps, (5, 6)))
    maps[0], maps[1, 0, 0], maps[2] = 0, torch.inf, 0.3
    metric = Complexity()
    metric.update(maps, (20, 30))
    scores = metric.per_image()
    assert scores["sparseness"].isnan().tolist() == [True, True, False, False]
    assert scores["sparseness"][2].item() == pytest.approx(0, abs=1e-6)
    assert scores["complexity"][2].item() == pytest.approx(math.log(600), abs=1e-5)
