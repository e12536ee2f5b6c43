import math

import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import KLD
from salvit.metrics.functional import kld
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


@examples
@given(batches)
def test_agrees_with_the_reference(case):
    pred, density, _ = case
    expected = [reference.kld(s.tolist(), g.tolist()) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(kld(pred, density), expected, atol=1e-9)


@examples
@given(batches)
def test_scale_does_not_matter(case):
    pred, density, _ = case
    torch.testing.assert_close(kld(4 * pred, density / 2), kld(pred, density))


def test_equal_distributions_score_zero():
    pred, _, _ = batch(0)
    assert kld(pred, pred).abs().max() < 1e-12


def test_epsilon_is_float64s_also_for_float32_maps():
    pred, density = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert kld(pred, density).item() == pytest.approx(math.log(1 / 2.2204e-16), abs=1e-9)


def test_map_below_zero_is_shifted():
    pred, density, _ = batch(0)
    shifted = pred - pred.amin((1, 2), keepdim=True)
    torch.testing.assert_close(kld(shifted - 0.3, density), kld(shifted, density))
    assert not kld(shifted + 0.3, density).allclose(kld(shifted, density))


@pytest.mark.parametrize("value", [0.0, 0.1, -2.0])
def test_constant_map_is_uniform(value):
    density = torch.tensor([[[0.0, 0.0, 0.5, 0.5]]])
    constant = torch.full((1, 1, 4), value)
    assert kld(constant, density).item() == pytest.approx(math.log(2))
    assert kld(constant, torch.zeros(1, 1, 4)).item() == pytest.approx(0, abs=1e-12)


def test_class_averages_images():
    pred, density, _ = batch(0)
    metric = KLD()
    metric.update(pred, density)
    assert metric.compute().item() == pytest.approx(kld(pred, density).mean().item())
    assert not metric.higher_is_better
