import numpy as np
import pytest
import torch

from salvit.metrics import OtherImages, SampledShuffledAUC
from salvit.metrics.functional import sampled_shuffled_auc, shuffled_auc
from salvit.metrics.functional.fixations import fixation_counts, fixation_indices, generator, image_key
from tests.metrics import mit_reference, reference
from tests.metrics.cases import batch, points_in


def others_of(pred, fixations):
    return OtherImages(fixations, [tuple(s.shape) for s in pred])


def test_agrees_with_the_script_where_every_other_image_is_drawn():
    pred, _, fixations = batch(0, images=4, lengths=(4, 5, 2, 1))
    size = (6, 9)
    scores = sampled_shuffled_auc(pred, fixations, others_of(pred, fixations), splits=15, seed=2)
    for image, points in enumerate(fixations):
        rest = [xy.tolist() for other, xy in enumerate(fixations) if other != image]
        pool = mit_reference.fixated_pixels([point for xy in rest for point in xy], size)
        flat_pool = np.array([row * size[1] + column for row, column in pool])
        fixated = mit_reference.fixated_pixels(points.tolist(), size)
        [index] = fixation_indices([points], [size])
        random = generator(2, image_key(index.numpy(), size))
        random.choice(np.array([other for other in range(4) if other != image]), 3, replace=False)
        values = reference.minmax(reference.flat(pred[image].tolist()))
        positives = [values[row * size[1] + column] for row, column in fixated]
        areas = []
        for _ in range(15):
            drawn = random.choice(flat_pool, min(len(fixated), len(pool)), replace=False)
            areas.append(mit_reference.stepped(positives, [values[i] for i in drawn], 0.1))
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


def test_points_of_images_of_other_sizes_are_rescaled():
    others = OtherImages([torch.tensor([[0.0, 0.0]]), torch.tensor([[7.0, 3.0]])], [(2, 4), (4, 8)])
    assert others.pixels(np.array([0]), (2, 4), 10, np.random.default_rng(0)).tolist() == [7]


def test_the_pool_is_binary():
    fixations = [
        torch.tensor([[0.0, 0.0]]),
        torch.tensor([[1.0, 0.0]] * 5),
        torch.tensor([[1.2, 0.0], [2.0, 0.0]]),
    ]
    others = OtherImages(fixations, [(1, 3)] * 3)
    assert others.pixels(np.array([0]), (1, 3), 10, np.random.default_rng(0)).tolist() == [1, 2]


def test_close_to_the_exact_one_with_all_images_and_fine_steps():
    generator = torch.Generator().manual_seed(0)
    size, images = (40, 60), 6
    pred = torch.rand(images, *size, generator=generator)
    fixations = [points_in(size, 60, generator)[:30] for _ in range(images)]
    sampled = sampled_shuffled_auc(pred, fixations, others_of(pred, fixations), splits=500, step=0.001)
    exact = shuffled_auc(pred, fixations, fixation_counts(fixations, [size] * images, size))
    torch.testing.assert_close(sampled, exact, atol=0.03, rtol=0)


def test_constant_map_scores_one_half():
    _, _, fixations = batch(0)
    pred = torch.full((3, 6, 9), 0.1)
    assert sampled_shuffled_auc(pred, fixations, others_of(pred, fixations)).tolist() == [0.5] * 3


@pytest.mark.parametrize(("lengths", "skipped"), [((4, 0, 5), 1), ((4,), 1), ((4, 0), 2), ((0, 0), 2)])
def test_images_that_cannot_be_scored_are_counted(lengths, skipped):
    pred, _, fixations = batch(0, images=len(lengths), lengths=lengths)
    metric = SampledShuffledAUC(others_of(pred, fixations))
    metric.update(pred, fixations)
    assert metric.n_skipped == skipped


def test_others_without_the_image_itself():
    pred, _, fixations = batch(0)
    with pytest.raises(ValueError, match="lack the one scored, of 6×9"):
        sampled_shuffled_auc(pred, fixations, others_of(pred[:2], fixations[:2]))


def test_a_number_of_images_that_makes_no_pool():
    pred, _, fixations = batch(0)
    with pytest.raises(ValueError, match="images is 0"):
        sampled_shuffled_auc(pred, fixations, others_of(pred, fixations), images=0)


def test_copies_share_the_fixations():
    import copy

    others = OtherImages([torch.zeros(1, 2)], [(2, 2)])
    assert copy.deepcopy(SampledShuffledAUC(others)).others is others
