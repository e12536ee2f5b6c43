import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import AUCBorji, AUCJudd
from salvit.metrics.functional import auc, auc_borji, auc_judd
from salvit.metrics.functional.auc import mann_whitney_auc, stepped_auc
from salvit.metrics.functional.fixations import fixation_indices, generator, image_key
from tests.metrics import mit_reference, reference
from tests.metrics.cases import batch, batches, examples


@examples
@given(batches)
def test_agrees_with_counting_pairs(case):
    pred, _, fixations = case
    expected = [reference.auc(s.tolist(), xy.tolist()) for s, xy in zip(pred, fixations, strict=True)]
    np.testing.assert_array_equal(auc(pred, fixations), expected)


def test_a_constant_map_scores_one_half():
    points = [torch.tensor([[0.0, 0.0], [1.0, 1.0]])]
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert auc(torch.full((1, 4, 5), 0.1, dtype=dtype), points).item() == 0.5
    assert auc_borji(torch.full((1, 3, 4), 0.1), points).item() == 0.5


def test_float64_differences_are_not_rounded_away():
    pred = torch.tensor([[[1.0, 1.0 + 1e-15]]], dtype=torch.float64)
    assert auc(pred, [torch.tensor([[1.0, 0.0]])]).item() == 0.75


def expected_score(pred, points, splits, seed):
    size = (len(pred), len(pred[0]))
    fixated = mit_reference.fixated_pixels(points.tolist(), size)
    [index] = fixation_indices([points], [size])
    drawn = generator(seed, image_key(index.numpy(), size)).integers(
        size[0] * size[1], size=(splits, len(fixated))
    )
    values = reference.minmax(reference.flat(pred))
    positives = [values[row * size[1] + column] for row, column in fixated]
    areas = [mit_reference.stepped(positives, [values[i] for i in split], 0.1) for split in drawn]
    return sum(areas) / splits


@pytest.mark.parametrize("seed", [0, 7])
def test_auc_borji_agrees_with_the_script(seed):
    pred, _, fixations = batch(seed)
    expected = [expected_score(s.tolist(), xy, 20, seed) for s, xy in zip(pred, fixations, strict=True)]
    np.testing.assert_allclose(auc_borji(pred, fixations, splits=20, seed=seed), expected, atol=1e-12)


EVERYWHERE = torch.tensor([[x, y] for x in range(3) for y in range(2)], dtype=torch.float32)


@pytest.mark.parametrize(
    ("metric", "unscorable"),
    [(AUCBorji(), torch.tensor([[1.0, 1.0], [1.2, 1.0]])), (AUCJudd(), EVERYWHERE)],
)
def test_images_with_one_fixated_pixel_or_no_other_pixel_are_skipped(metric, unscorable):
    metric.update(torch.rand(3, 2, 3), [torch.zeros(0, 2), unscorable, EVERYWHERE[:2]])
    assert metric.per_image().isnan().tolist() == [True, True, False]
    assert metric.n_skipped == 2


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (auc_borji, {"splits": 0}, "splits is 0"),
        (auc_borji, {"step": 0.0}, "step is 0"),
        (auc_judd, {"seed": -1}, "seed is -1"),
    ],
)
def test_numbers_that_make_no_score_are_refused(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(torch.rand(1, 2, 3), [torch.zeros(1, 2)], **options)


def noise_of(size, points, seed):
    [index] = fixation_indices([points], [size])
    return 1e-7 * generator(seed, image_key(index.numpy(), size)).random(size)


@pytest.mark.parametrize("jitter", [True, False])
@examples
@given(batches)
def test_auc_judd_agrees_with_the_script(jitter, case):
    pred, _, fixations = case
    size = tuple(pred.shape[1:])
    expected = []
    for s, xy in zip(pred, fixations, strict=True):
        noise = noise_of(size, xy, 3) if jitter else np.zeros(size)
        expected.append(mit_reference.auc_judd(s.tolist(), xy.tolist(), noise.tolist()))
    np.testing.assert_allclose(auc_judd(pred, fixations, jitter, seed=3), expected, atol=1e-12)


def test_a_constant_map_is_scored_by_the_noise_about_one_half():
    points = [torch.rand(400, 2, generator=torch.Generator().manual_seed(i)) * 59 for i in range(20)]
    first, again, other = (auc_judd(torch.full((20, 60, 80), 0.1), points, seed=seed) for seed in (0, 0, 1))
    assert first.mean().item() == pytest.approx(0.5, abs=0.01)
    assert len(set(first.tolist())) == 20
    assert first.equal(again)
    assert not first.equal(other)


def test_trapezia_add_half_a_step_to_the_exact_rank_statistic():
    """Beyond the ranks of fixated and other pixels, area lies under the slopes up to the last fixated pixel."""
    pred, _, fixations = batch(0, size=(30, 40), images=4, lengths=(20, 31, 5, 60))
    for s, points in zip(pred, fixations, strict=True):
        [index] = fixation_indices([points], [(30, 40)])
        fixated = np.unique(index.numpy())
        values = s.flatten().numpy()
        others = np.delete(values, fixated)
        slopes = (others > values[fixated].min()).mean() / (2 * len(fixated))
        expected = mann_whitney_auc(values[fixated], others) + slopes
        assert auc_judd(s[None], [points], jitter=False).item() == pytest.approx(expected, abs=1e-12)


def test_thresholds_of_eight_bits_are_met():
    """A value of 153/255 is 0.6, which 6 · 0.1 exceeds."""
    assert stepped_auc(np.array([153 / 255, 1.0]), np.array([[0.55, 0.55]]), 0.1) == 1
