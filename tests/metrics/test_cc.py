import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import CC
from salvit.metrics.functional import cc
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


@examples
@given(batches)
def test_agrees_with_the_reference(case):
    pred, density, _ = case
    expected = [reference.cc(s.tolist(), g.tolist()) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(cc(pred, density), expected, atol=1e-7)


@examples
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_scale_and_offset_do_not_matter_but_the_sign_does(seed, scale, offset):
    pred, density, _ = batch(seed)
    torch.testing.assert_close(cc(scale * pred + offset, density), cc(pred, density), atol=1e-7, rtol=0)
    torch.testing.assert_close(cc(-scale * pred + offset, density), -cc(pred, density), atol=1e-7, rtol=0)


def test_symmetric_and_bounded():
    pred, density, _ = batch(0, images=50)
    torch.testing.assert_close(cc(pred, density), cc(density, pred))
    assert cc(pred, pred).tolist() == pytest.approx([1] * 50)
    assert cc(pred, pred).max() <= 1


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_map_scores_zero(value):
    other, constant = torch.rand(1, 48, 64), torch.full((1, 48, 64), value)
    assert cc(constant, other).item() == 0
    assert cc(other, constant).item() == 0
    assert cc(constant, constant).item() == 0


def test_class_averages_images():
    pred, density, _ = batch(0)
    metric = CC()
    metric.update(pred[:2], density[:2])
    metric.update(pred[2:], density[2:])
    assert metric.compute().item() == pytest.approx(cc(pred, density).mean().item())
    assert metric.n_skipped == 0
