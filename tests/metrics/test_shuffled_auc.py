import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import AUCBorji, AUCJudd, OtherImages, SampledShuffledAUC, ShuffledAUC
from salvit.metrics.functional import fixation_counts, sampled_shuffled_auc, shuffled_auc
from salvit.metrics.functional.fixations import fixation_indices, generator, image_key
from tests.metrics import mit_reference, reference
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
    expected = []
    for i, own in enumerate(fixations):
        others = [xy for other in fixations[:i] + fixations[i + 1 :] for xy in other.tolist()]
        cells = [reference.pixel(xy, size, shape) for xy in others]
        negatives = [reference.pixel((column, row), shape, size) for row, column in cells]
        positives = [reference.pixel(xy, size) for xy in own.tolist()]
        expected.append(
            reference.pairs(*(reference.at(pred[i].tolist(), part) for part in (positives, negatives)))
        )
    pool = fixation_counts(fixations, [size] * 3, shape)
    np.testing.assert_array_equal(shuffled_auc(pred, fixations, pool), expected)


def test_center_bias_earns_nothing():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    center = torch.exp(-((x - 29.5) ** 2 / 300 + (y - 19.5) ** 2 / 150))
    cells = torch.multinomial(center.flatten(), 12_000, True, generator=torch.Generator().manual_seed(0))
    fixations = list(torch.stack([cells % 60, cells // 60], 1).chunk(20))
    pred = center.expand(20, -1, -1)
    scores = shuffled_auc(pred, fixations, pool_of(pred, fixations))
    assert scores.mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("lengths", "skipped"), [((4, 0, 5), 1), ((4,), 1), ((4, 0), 2), ((0, 0), 2)])
def test_images_without_fixations_or_other_images_are_skipped(lengths, skipped):
    pred, _, fixations = batch(0, images=len(lengths), lengths=lengths)
    for metric in (
        ShuffledAUC(),
        ShuffledAUC(pool_of(pred, fixations)),
        SampledShuffledAUC(others_of(pred, fixations)),
    ):
        metric.update(pred, fixations)
        assert metric.n_skipped == skipped
        assert metric.compute().isfinite() == (skipped < len(lengths))


def test_a_pool_lacks_a_fixation_of_an_image():
    pred, _, fixations = batch(0)
    with pytest.raises(ValueError, match="pool lacks a fixation of image 2 of the batch"):
        shuffled_auc(pred, fixations, pool_of(pred[:2], fixations[:2]))
    twice = [torch.tensor([[1.0, 0.0], [1.0, 0.0]])]
    with pytest.raises(ValueError, match=r"image 0 .*\(x=1, y=0\)"):
        shuffled_auc(torch.zeros(1, 2, 2), twice, torch.tensor([[5, 1], [5, 5]]))


def test_pool_keeps_its_counts_when_a_model_is_cast_to_half():
    pred, _, fixations = batch(0)
    counts = pool_of(pred, fixations) + 2049  # float16 holds no odd number above 2048
    metric = ShuffledAUC(counts).half()
    metric.update(pred, fixations)
    np.testing.assert_allclose(metric.per_image(), shuffled_auc(pred, fixations, counts), atol=1e-7)


def test_predictions_are_kept_as_they_were_and_in_float64_without_pool():
    pred = 1 + torch.tensor([[[0.0, 1.0, 2.0]]] * 2, dtype=torch.float64) * 1e-15
    metric = ShuffledAUC()
    metric.update(pred, [torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])])
    pred.zero_()
    assert metric.per_image().tolist() == [1.0, 0.0]


def test_fixations_of_some_observers_are_compared_with_other_images_alone():
    pred, _, fixations = batch(0)
    pool = pool_of(pred, fixations)
    part = [points[:2] for points in fixations]
    found = shuffled_auc(pred, part, pool, own=fixations)
    for image, points in enumerate(part):
        alone = [points if other == image else xy for other, xy in enumerate(fixations)]
        assert found[image] == shuffled_auc(pred[image : image + 1], [points], pool_of(pred, alone))[0]
    with pytest.raises(ValueError, match="need a pool"):
        ShuffledAUC().update(pred, fixations, own=fixations)


def others_of(pred, fixations):
    return OtherImages(fixations, [tuple(s.shape) for s in pred])


def test_agrees_with_the_script_where_every_other_image_is_drawn():
    size = (6, 9)
    pred, _, fixations = batch(0, size, images=4, lengths=(4, 5, 2, 1))
    scores = sampled_shuffled_auc(pred, fixations, others_of(pred, fixations), splits=15, seed=2)
    fixated = [
        [row * size[1] + column for row, column in mit_reference.fixated_pixels(xy.tolist(), size)]
        for xy in fixations
    ]
    for image, points in enumerate(fixations):
        rest = [other for other in range(4) if other != image]
        pool = np.unique([pixel for other in rest for pixel in fixated[other]])
        [index] = fixation_indices([points], [size])
        random = generator(2, image_key(index.numpy(), size))
        random.choice(np.array(rest), 3, replace=False)
        values = np.array(reference.minmax(reference.flat(pred[image].tolist())))
        areas = []
        for _ in range(15):
            drawn = random.choice(pool, min(len(fixated[image]), len(pool)), replace=False)
            areas.append(mit_reference.stepped(values[fixated[image]], values[drawn], 0.1))
        assert scores[image].item() == pytest.approx(np.mean(areas), abs=1e-12)


def test_ten_other_images_with_fixations_are_drawn_and_never_the_own():
    size = (20, 20)
    fixations = [torch.tensor([[float(i), 0.0]]) for i in range(18)] + [torch.zeros(0, 2)] * 3
    others = OtherImages(fixations, [size] * 21)
    seen = set()
    for seed in range(30):
        pixels = others.pixels(np.array([5]), size, 10, np.random.default_rng(seed))
        assert len(pixels) == 10
        seen |= set(pixels.tolist())
    assert seen == set(range(18)) - {5}


@pytest.mark.parametrize(
    ("fixations", "sizes", "pixels"),
    [
        ([[(0, 0)], [(7, 3)]], [(2, 4), (4, 8)], [7]),  # rescaled to the size of the first image
        ([[(0, 0)], [(1, 0)] * 5, [(1.2, 0), (2, 0)]], [(1, 3)] * 3, [1, 2]),  # every pixel once
    ],
)
def test_pixels_of_other_images(fixations, sizes, pixels):
    others = OtherImages([torch.tensor(points, dtype=torch.float32) for points in fixations], sizes)
    assert others.pixels(np.array([0]), sizes[0], 10, np.random.default_rng(0)).tolist() == pixels


def test_a_constant_map_has_one_half_of_the_sampled_score_and_bad_input_is_named():
    pred, _, fixations = batch(0)
    others = others_of(pred, fixations)
    assert sampled_shuffled_auc(torch.full((3, 6, 9), 0.1), fixations, others).tolist() == [0.5] * 3
    with pytest.raises(ValueError, match="lack the one scored, of 6×9"):
        sampled_shuffled_auc(pred, fixations, others_of(pred[:2], fixations[:2]))
    with pytest.raises(ValueError, match="images is 0"):
        sampled_shuffled_auc(pred, fixations, others, images=0)


def test_copies_share_the_fixations():
    others = OtherImages([torch.zeros(1, 2)], [(2, 2)])
    assert copy.deepcopy(SampledShuffledAUC(others)).others is others


def scored(batches, order=1):
    pred, _, fixations = batch(0, images=6, lengths=(4, 3, 5, 3, 7, 6), levels=3)
    others, found = OtherImages(fixations, [(6, 9)] * 6), {}
    for metric in (AUCJudd(), AUCBorji(splits=10), SampledShuffledAUC(others, images=2, splits=10)):
        for images in batches:
            metric.update(pred[images], [fixations[i].flip(0) if order < 0 else fixations[i] for i in images])
        seen = [image for images in batches for image in images]
        found[type(metric).__name__] = metric.per_image()[torch.tensor(seen).argsort()]
    return found


@pytest.mark.parametrize("batches", [[[i] for i in range(6)], [[5, 0], [3, 1, 2], [4]], [[4, 2, 0, 5, 3, 1]]])
@pytest.mark.parametrize("order", [1, -1])
def test_neither_batches_nor_the_order_of_images_or_fixations_matters(batches, order):
    whole = scored([list(range(6))])
    for name, scores in scored(batches, order).items():
        assert scores.equal(whole[name]), name


def test_another_image_gets_other_draws():
    pred, _, fixations = batch(0, images=1, lengths=(6,), levels=3)
    metric = AUCBorji(splits=3)
    again = torch.cat([fixations[0], fixations[0][:1]])  # the same binary map, yet another image
    metric.update(pred.expand(3, -1, -1), [fixations[0], fixations[0], again])
    first, same, other = metric.per_image()
    assert first == same != other
