import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import AUCJudd
from salvit.metrics.functional import auc, auc_judd
from salvit.metrics.functional.auc import mann_whitney_auc
from salvit.metrics.functional.fixations import fixation_indices, generator, image_key
from tests.metrics import mit_reference
from tests.metrics.cases import batch, batches, examples


def noise_of(size, points, seed):
    [index] = fixation_indices([points], [size])
    return 1e-7 * generator(seed, image_key(index.numpy(), size)).random(size)


@examples
@given(batches)
def test_agrees_with_the_script(case):
    pred, _, fixations = case
    size = tuple(pred.shape[1:])
    expected = [
        mit_reference.auc_judd(s.tolist(), xy.tolist(), noise_of(size, xy, 3).tolist())
        for s, xy in zip(pred, fixations, strict=True)
    ]
    np.testing.assert_allclose(auc_judd(pred, fixations, seed=3), expected, atol=1e-12)


@examples
@given(batches)
def test_without_jitter(case):
    pred, _, fixations = case
    size = tuple(pred.shape[1:])
    expected = [
        mit_reference.auc_judd(s.tolist(), xy.tolist(), torch.zeros(size).tolist())
        for s, xy in zip(pred, fixations, strict=True)
    ]
    np.testing.assert_allclose(auc_judd(pred, fixations, jitter=False), expected, atol=1e-12)


def test_close_to_the_exact_one_on_an_image():
    pred, _, _ = batch(0, size=(60, 80), images=1)
    points = torch.rand(1, 150, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([79.0, 59.0])
    # Both count half of a trapezium at each of the fixated pixels.
    assert auc_judd(pred, points).item() == pytest.approx(auc(pred, points).item(), abs=0.02)


def test_a_pixel_fixated_twice_counts_once():
    pred, _, _ = batch(0, images=1)
    once = torch.tensor([[1.0, 1.0], [3.0, 2.0]])
    twice = torch.cat([once, once[:1] + 0.2])
    assert auc_judd(pred, [once], jitter=False).equal(auc_judd(pred, [twice], jitter=False))


def test_scale_and_offset_do_not_matter():
    pred, _, fixations = batch(0, levels=4)
    torch.testing.assert_close(
        auc_judd(pred * 255 - 3, fixations), auc_judd(pred, fixations), atol=1e-12, rtol=0
    )


def test_constant_map_is_scored_by_the_noise_about_one_half():
    size = (60, 80)
    points = [torch.rand(400, 2, generator=torch.Generator().manual_seed(i)) * 59 for i in range(20)]
    scores = auc_judd(torch.full((20, *size), 0.1), points)
    assert scores.mean().item() == pytest.approx(0.5, abs=0.01)
    assert len(set(scores.tolist())) == 20


def test_images_that_cannot_be_scored_are_counted():
    everywhere = torch.tensor([[x, y] for x in range(3) for y in range(2)], dtype=torch.float32)
    metric = AUCJudd()
    metric.update(torch.rand(3, 2, 3), [torch.zeros(0, 2), everywhere, everywhere[:2]])
    assert metric.per_image().isnan().tolist() == [True, True, False]
    assert metric.n_skipped == 2


def test_the_seed_decides_about_ties():
    pred, _, fixations = batch(0, size=(20, 30), images=1, levels=2, lengths=(30,))
    first, again, other = (AUCJudd(seed=seed) for seed in (0, 0, 1))
    for metric in (first, again, other):
        metric.update(pred, fixations)
    assert first.compute().equal(again.compute())
    assert not first.compute().equal(other.compute())


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        auc_judd(torch.rand(1, 2, 3), [torch.zeros(1, 2)], seed=-1)


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
