import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics.functional.auc import float32_order, mann_whitney_auc, rankable
from tests.metrics import reference
from tests.metrics.cases import examples

values = st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1, 1)), max_size=12)


@examples
@given(positives=values, negatives=values)
def test_agrees_with_counting_pairs(positives, negatives):
    score = mann_whitney_auc(np.array(positives, dtype=float), np.array(negatives, dtype=float))
    np.testing.assert_equal(score, reference.pairs(positives, negatives))


@examples
@given(positives=values, negatives=values, data=st.data())
def test_counts_are_repetitions(positives, negatives, data):
    counts = data.draw(st.lists(st.integers(0, 4), min_size=len(negatives), max_size=len(negatives)))
    repeated = [value for value, count in zip(negatives, counts, strict=True) for _ in range(count)]
    weighted = mann_whitney_auc(np.array(positives), np.array(negatives), np.array(counts, dtype=np.int64))
    np.testing.assert_equal(weighted, reference.pairs(positives, repeated))


def test_nothing_to_compare():
    assert math.isnan(mann_whitney_auc(np.array([]), np.array([1.0])))
    assert math.isnan(mann_whitney_auc(np.array([1.0]), np.array([])))
    assert math.isnan(mann_whitney_auc(np.array([1.0]), np.array([1.0]), np.array([0])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8])
def test_rankable_keeps_the_values(dtype):
    maps = torch.tensor([[[0.0, 1.0], [3.0, 2.0]]]).to(dtype)
    assert rankable(maps).tolist() == [[0.0, 1.0, 3.0, 2.0]]


@examples
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_float32_order_keeps_order_and_ties(values):
    doubles = torch.tensor(values, dtype=torch.float64)
    singles = float32_order(doubles)
    assert singles.dtype == torch.float32
    assert singles[:, None].sub(singles).sign().equal(_signs(doubles).float())


def _signs(values):
    return (values[:, None] > values).int() - (values[:, None] < values).int()
