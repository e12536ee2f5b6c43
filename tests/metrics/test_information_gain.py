import math

import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import InformationGain
from salvit.metrics.functional import information_gain
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


def expected_score(pred, points, baseline):
    if not points:
        return math.nan
    size = (len(pred), len(pred[0]))
    p, b = (reference.distribution(reference.flat(rows)) for rows in (pred, baseline))
    at = [row * size[1] + column for row, column in (reference.pixel(point, size) for point in points)]
    gains = [math.log2(reference.EPS + p[i]) - math.log2(reference.EPS + b[i]) for i in at]
    return math.fsum(gains) / len(gains)


@examples
@given(batches)
def test_agrees_with_the_definition(case):
    pred, density, fixations = case
    expected = [
        expected_score(s.tolist(), xy.tolist(), density[0].tolist())
        for s, xy in zip(pred, fixations, strict=True)
    ]
    np.testing.assert_allclose(information_gain(pred, fixations, density[0]), expected, atol=1e-9)


@examples
@given(batches)
def test_without_baseline_it_is_the_uniform_one(case):
    pred, _, fixations = case
    expected = information_gain(pred, fixations, torch.ones(pred.shape[1:]))
    torch.testing.assert_close(information_gain(pred, fixations), expected, equal_nan=True)


@examples
@given(batches)
def test_the_baseline_gains_nothing_over_itself(case):
    _, density, fixations = case
    scores = information_gain(density, fixations, density[0])
    assert math.isnan(scores[0]) if len(fixations[0]) == 0 else scores[0].item() == 0


def test_repeated_fixations_count_repeatedly():
    pred = torch.tensor([[[1.0, 3.0]]])
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    expected = (math.log2(0.5) + 2 * math.log2(1.5)) / 3
    assert information_gain(pred, [points]).item() == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_map_that_says_nothing_is_uniform(value):
    _, _, fixations = batch(0)
    torch.testing.assert_close(
        information_gain(torch.full((3, 6, 9), value), fixations), torch.zeros(3, dtype=torch.float64)
    )


def test_a_fixation_where_the_prediction_is_zero_is_finite():
    score = information_gain(torch.tensor([[[0.0, 1.0]]]), [torch.zeros(1, 2)]).item()
    assert score == pytest.approx(math.log2(2.2204e-16) + 1)


def test_a_map_below_zero_is_shifted():
    pred, _, fixations = batch(0)
    torch.testing.assert_close(
        information_gain(pred - 5, fixations), information_gain(pred - pred.amin((1, 2), True), fixations)
    )


def test_a_baseline_of_another_size_is_resized_and_stays_a_density():
    baseline = torch.rand(12, 18, dtype=torch.float64)
    pred, _, fixations = batch(0)
    small = torch.nn.functional.interpolate(baseline[None, None], (6, 9), mode="bilinear", antialias=True)[
        0, 0
    ]
    torch.testing.assert_close(
        information_gain(pred, fixations, baseline), information_gain(pred, fixations, small)
    )


@pytest.mark.parametrize("bad", [torch.zeros(6, 9), torch.full((6, 9), -1.0), torch.full((6, 9), torch.nan)])
def test_a_baseline_that_is_no_density(bad):
    with pytest.raises(ValueError, match="baseline"):
        InformationGain(bad)


def test_a_baseline_per_image_is_refused():
    with pytest.raises(ValueError, match=r"baseline has shape \(3, 6, 9\)"):
        information_gain(*(batch(0)[i] for i in (0, 2)), torch.ones(3, 6, 9))


def test_images_without_fixations_are_counted():
    pred, _, fixations = batch(0, lengths=(0, 4, 5))
    metric = InformationGain()
    metric.update(pred, fixations)
    assert metric.per_image().isnan().tolist() == [True, False, False]
    assert metric.n_skipped == 1
    assert metric.compute().isfinite()
