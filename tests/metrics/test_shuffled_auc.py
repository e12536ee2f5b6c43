import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import ShuffledAUC
from salvit.metrics.functional import fixation_counts, shuffled_auc
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


def expected_scores(preds, fixations):
    preds, fixations = [s.tolist() for s in preds], [xy.tolist() for xy in fixations]
    return [reference.shuffled_auc(image, preds, fixations) for image in range(len(preds))]


def pool_of(pred, fixations):
    return fixation_counts(fixations, [tuple(s.shape) for s in pred], tuple(pred.shape[1:]))


@examples
@given(batches)
def test_agrees_with_counting_pairs(case):
    pred, _, fixations = case
    scores = shuffled_auc(pred, fixations, pool_of(pred, fixations))
    np.testing.assert_array_equal(scores, expected_scores(pred, fixations))


@examples
@given(batches)
def test_class_scores_the_same_with_and_without_pool(case):
    pred, _, fixations = case
    with_pool, without = ShuffledAUC(pool_of(pred, fixations)), ShuffledAUC()
    for i in range(len(pred)):
        with_pool.update(pred[i : i + 1], fixations[i : i + 1])
        without.update(pred[i : i + 1], fixations[i : i + 1])
    np.testing.assert_array_equal(with_pool.per_image(), without.per_image())
    np.testing.assert_array_equal(with_pool.compute(), without.compute())
    assert with_pool.n_skipped == without.n_skipped


@examples
@given(batches)
def test_only_the_order_matters(case):
    pred, _, fixations = case
    pool = pool_of(pred, fixations)
    scores = shuffled_auc(pred, fixations, pool)
    np.testing.assert_array_equal(shuffled_auc(pred.double().exp() * 100, fixations, pool), scores)
    np.testing.assert_allclose(shuffled_auc(-pred, fixations, pool), 1 - scores, atol=1e-15)


@examples
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_images_of_different_sizes_without_pool(sizes, seed):
    images = [batch(seed + i, size, images=1, levels=4, lengths=(3 + i,)) for i, size in enumerate(sizes)]
    metric = ShuffledAUC()
    for pred, _, fixations in images:
        metric.update(pred, fixations)
    expected = expected_scores([pred[0] for pred, _, _ in images], [xy[0] for _, _, xy in images])
    np.testing.assert_allclose(metric.per_image(), expected, atol=1e-7)


@examples
@given(shape=st.tuples(st.integers(1, 12), st.integers(1, 12)), seed=st.integers(0, 2**32 - 1))
def test_pool_of_another_size_is_rescaled_as_points(shape, seed):
    pred, _, fixations = batch(seed, levels=5)
    size = tuple(pred.shape[1:])
    pool = fixation_counts(fixations, [size] * 3, shape)
    expected = []
    for i, own in enumerate(fixations):
        cells = [
            reference.pixel(xy, size, shape)
            for j, other in enumerate(fixations)
            for xy in other.tolist()
            if j != i
        ]
        negatives = [reference.pixel((column, row), shape, size) for row, column in cells]
        positives = [reference.pixel(xy, size) for xy in own.tolist()]
        rows = pred[i].tolist()
        expected.append(reference.pairs(reference.at(rows, positives), reference.at(rows, negatives)))
    np.testing.assert_array_equal(shuffled_auc(pred, fixations, pool), expected)


def test_center_bias_earns_nothing():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    center = torch.exp(-((x - 29.5) ** 2 / 300 + (y - 19.5) ** 2 / 150))
    cells = torch.multinomial(center.flatten(), 12_000, True, generator=torch.Generator().manual_seed(0))
    fixations = list(torch.stack([cells % 60, cells // 60], 1).chunk(20))
    pred = center.expand(20, -1, -1)
    assert shuffled_auc(pred, fixations, pool_of(pred, fixations)).mean().item() == pytest.approx(
        0.5, abs=0.01
    )


def test_constant_map_scores_one_half():
    _, _, fixations = batch(0)
    pred = torch.full((3, 6, 9), 0.1)
    assert shuffled_auc(pred, fixations, pool_of(pred, fixations)).tolist() == [0.5] * 3


def test_image_without_fixations_is_left_out():
    pred, _, fixations = batch(0, lengths=(4, 0, 5))
    for metric in (ShuffledAUC(), ShuffledAUC(pool_of(pred, fixations))):
        metric.update(pred, fixations)
        assert metric.per_image().isnan().tolist() == [False, True, False]
        assert metric.n_skipped == 1
        assert metric.compute().isfinite()


@pytest.mark.parametrize("lengths", [(4,), (4, 0)])
def test_empty_pool_is_skipped_and_counted(lengths):
    pred, _, fixations = batch(0, images=len(lengths), lengths=lengths)
    for metric in (ShuffledAUC(), ShuffledAUC(pool_of(pred, fixations))):
        metric.update(pred, fixations)
        assert metric.n_skipped == len(lengths)
        assert metric.compute().isnan()


def test_pool_without_the_images_own_fixations():
    pred, _, fixations = batch(0)
    pool = pool_of(pred[:2], fixations[:2])
    with pytest.raises(ValueError, match="pool lacks a fixation of image 2 of the batch"):
        shuffled_auc(pred, fixations, pool)


def test_pool_with_too_few_repetitions():
    twice = [torch.tensor([[1.0, 0.0], [1.0, 0.0]])]
    with pytest.raises(ValueError, match=r"image 0 .*\(x=1, y=0\)"):
        shuffled_auc(torch.zeros(1, 2, 2), twice, torch.tensor([[5, 1], [5, 5]]))


def test_pool_is_checked_at_construction():
    with pytest.raises(ValueError, match="pool holds negative"):
        ShuffledAUC(torch.tensor([[0.5]]))


def test_pool_keeps_its_counts_when_a_model_is_cast_to_half():
    pred, _, fixations = batch(0)
    counts = pool_of(pred, fixations) + 2049  # float16 holds no odd number above 2048
    metric = ShuffledAUC(counts).half()
    metric.update(pred, fixations)
    np.testing.assert_allclose(metric.per_image(), shuffled_auc(pred, fixations, counts), atol=1e-7)


def test_predictions_are_kept_as_they_were():
    pred, _, fixations = batch(0, dtype=torch.float32)
    metric, expected = ShuffledAUC(), shuffled_auc(pred, fixations, pool_of(pred, fixations))
    metric.update(pred, fixations)
    pred.zero_()
    np.testing.assert_allclose(metric.per_image(), expected, atol=1e-7)


def test_float64_differences_are_not_rounded_away_without_pool():
    pred = 1 + torch.tensor([[[0.0, 1.0, 2.0]]] * 2, dtype=torch.float64) * 1e-15
    metric = ShuffledAUC()
    metric.update(pred, [torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])])
    assert metric.per_image().tolist() == [1.0, 0.0]


def test_a_bad_image_leaves_the_kept_ones_alone():
    pred, _, fixations = batch(0)
    metric = ShuffledAUC()
    metric.update(pred, fixations)
    with pytest.raises(ValueError, match="of image 1 lies outside"):
        metric.update(pred[:2], [fixations[0], torch.tensor([[9.0, 0.0]])])
    np.testing.assert_allclose(metric.per_image(), expected_scores(pred, fixations), atol=1e-7)


def test_empty_batch():
    assert shuffled_auc(torch.zeros(0, 2, 3), [], torch.zeros(2, 3)).shape == (0,)


def test_fixations_of_some_observers_are_compared_with_other_images_alone():
    pred, _, fixations = batch(0)
    pool = pool_of(pred, fixations)
    part = [points[:2] for points in fixations]
    found = shuffled_auc(pred, part, pool, own=fixations)
    for image, points in enumerate(part):
        alone = [points if other == image else xy for other, xy in enumerate(fixations)]
        assert found[image] == shuffled_auc(pred[image : image + 1], [points], pool_of(pred, alone))[0]


def test_fixations_of_some_observers_need_a_pool():
    pred, _, fixations = batch(0)
    with pytest.raises(ValueError, match="need a pool"):
        ShuffledAUC().update(pred, fixations, own=fixations)
