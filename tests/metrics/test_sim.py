import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import SIM
from salvit.metrics.functional import sim
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


@pytest.mark.parametrize("minmax", [True, False])
@examples
@given(batches)
def test_agrees_with_the_reference(minmax, case):
    pred, density, _ = case
    pred = pred - 0.2
    expected = [reference.sim(s.tolist(), g.tolist(), minmax) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(sim(pred, density, minmax), expected, atol=1e-9)


@examples
@given(batches)
def test_bounded_symmetric_and_one_for_equals(case):
    pred, density, _ = case
    scores = sim(pred, density)
    assert ((scores >= 0) & (scores <= 1 + 1e-12)).all()
    torch.testing.assert_close(sim(density, pred), scores)
    torch.testing.assert_close(sim(pred, 3 * pred + 1), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("minmax", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, 5.0, -2.0])
def test_constant_map_is_uniform(minmax, value):
    density = torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])
    assert sim(torch.full((1, 1, 4), value), density, minmax).item() == pytest.approx(0.25)
    assert sim(density, torch.full((1, 1, 4), value), minmax).item() == pytest.approx(0.25)
    assert sim(torch.full((1, 1, 4), value), torch.zeros(1, 1, 4), minmax).item() == pytest.approx(1)


def test_class_passes_its_option_on():
    pred, density, _ = batch(0)
    metric = SIM(minmax=False)
    metric.update(pred + 1, density)
    torch.testing.assert_close(metric.per_image(), sim(pred + 1, density, minmax=False).float())
    assert not metric.per_image().allclose(sim(pred + 1, density).float())
