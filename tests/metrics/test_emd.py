import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from salvit.metrics import EMD
from salvit.metrics.functional import emd
from tests.metrics import mit_reference, reference
from tests.metrics.cases import batch

needs_pot = pytest.mark.skipif(find_spec("ot") is None, reason="needs POT, the extra emd")


@needs_pot
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_linear_programming(seed):
    pred, density, _ = batch(seed, size=(4, 5))
    points = [(y, x) for y in range(4) for x in range(5)]
    expected = [
        mit_reference.transport(
            reference.distribution(reference.flat(s.tolist())),
            reference.distribution(reference.flat(g.tolist())),
            points,
        )
        for s, g in zip(pred, density, strict=True)
    ]
    np.testing.assert_allclose(emd(pred, density, factor=1), expected, atol=1e-9)


@needs_pot
def test_one_pixel_is_moved_as_the_crow_flies():
    pred, density = torch.zeros(1, 4, 5), torch.zeros(1, 4, 5)
    pred[0, 0, 0], density[0, 3, 4] = 2, 7
    assert emd(pred, density, factor=1).item() == pytest.approx(5)


@needs_pot
def test_equal_distributions_are_at_no_distance():
    pred, _, _ = batch(0)
    torch.testing.assert_close(
        emd(pred, 3 * pred, factor=1), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0
    )


@needs_pot
def test_maps_are_made_smaller_and_sides_rounded_up():
    pred, density = torch.zeros(1, 70, 97), torch.zeros(1, 70, 97)
    pred[0, :, :8], density[0, :, -8:] = 1, 1
    assert 2 <= emd(pred, density).item() <= 3  # columns 0 to 3


@needs_pot
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_map_without_mass_is_uniform(value):
    _, density, _ = batch(0)
    found = emd(torch.full_like(density, value), density, factor=1)
    torch.testing.assert_close(found, emd(torch.ones_like(density), density, factor=1))


@needs_pot
def test_with_matched_histograms_only_the_order_counts():
    pred, density, _ = batch(0)
    plain, matched = (
        emd(pred.exp() * 5, density, factor=1, match_histogram=match) for match in (False, True)
    )
    torch.testing.assert_close(matched, emd(pred, density, factor=1, match_histogram=True))
    assert not torch.isclose(plain, matched).any()
    order = density.flatten(1).argsort(1).argsort(1).double().reshape(density.shape)
    assert emd(order, density, factor=1, match_histogram=True).abs().max() < 1e-12


@needs_pot
def test_matching_keeps_ties():
    pred, density = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 3.0, 0.0]]])
    # Both tied pixels get (1 + 3) / 2, of which 1 has to move by one.
    assert emd(pred, density, factor=1, match_histogram=True).item() == pytest.approx(1 / 4)


@needs_pot
def test_the_class_keeps_its_options():
    pred, density, _ = batch(0)
    metric = EMD(factor=2, match_histogram=True)
    metric.update(pred, density)
    expected = emd(pred, density, factor=2, match_histogram=True)
    torch.testing.assert_close(metric.per_image(), expected.float())
    assert math.isclose(metric.compute().item(), expected.mean().item(), abs_tol=1e-6)


@needs_pot
def test_a_factor_that_makes_no_map():
    with pytest.raises(ValueError, match="factor is 0"):
        emd(torch.ones(1, 2, 2), torch.ones(1, 2, 2), factor=0)


def test_without_pot_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    for attempt in (EMD, lambda: emd(torch.ones(1, 2, 2), torch.ones(1, 2, 2))):
        with pytest.raises(ModuleNotFoundError, match=r"salvit\[emd\]"):
            attempt()
