import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import AUC
from salvit.metrics.functional import auc
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


@examples
@given(batches)
def test_agrees_with_counting_pairs(case):
    pred, _, fixations = case
    expected = [reference.auc(s.tolist(), xy.tolist()) for s, xy in zip(pred, fixations, strict=True)]
    np.testing.assert_array_equal(auc(pred, fixations), expected)


@examples
@given(batches)
def test_only_the_order_matters(case):
    pred, _, fixations = case
    np.testing.assert_array_equal(auc(pred.double().exp() * 100, fixations), auc(pred, fixations))


@examples
@given(batches)
def test_negation_mirrors(case):
    pred, _, fixations = case
    np.testing.assert_allclose(auc(-pred, fixations), 1 - auc(pred, fixations), atol=1e-15)


def test_repeated_fixations_count_repeatedly():
    pred = torch.tensor([[[0.0, 1.0]]])
    fixations = [torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])]
    assert auc(pred, fixations).item() == pytest.approx((2 * 0.75 + 0.25) / 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_constant_map_scores_one_half(dtype):
    assert auc(torch.full((1, 4, 5), 0.1, dtype=dtype), [torch.zeros(3, 2)]).item() == 0.5


def test_float64_differences_are_not_rounded_away():
    pred = torch.tensor([[[1.0, 1.0 + 1e-15]]], dtype=torch.float64)
    assert auc(pred, [torch.tensor([[1.0, 0.0]])]).item() == 0.75


def test_image_without_fixations_is_left_out():
    pred, _, fixations = batch(0, lengths=(0, 4, 5))
    metric = AUC()
    metric.update(pred, fixations)
    assert metric.per_image().isnan().tolist() == [True, False, False]
    assert metric.compute().item() == pytest.approx(auc(pred[1:], fixations[1:]).mean().item())
    assert metric.n_skipped == 1
