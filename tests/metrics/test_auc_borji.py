import numpy as np
import pytest
import torch

from salvit.metrics import AUCBorji
from salvit.metrics.functional import auc, auc_borji
from salvit.metrics.functional.fixations import fixation_indices, generator, image_key
from tests.metrics import mit_reference, reference
from tests.metrics.cases import batch


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
def test_agrees_with_the_script(seed):
    pred, _, fixations = batch(seed)
    expected = [expected_score(s.tolist(), xy, 20, seed) for s, xy in zip(pred, fixations, strict=True)]
    np.testing.assert_allclose(auc_borji(pred, fixations, splits=20, seed=seed), expected, atol=1e-12)


def test_many_fine_draws_come_close_to_the_exact_one():
    pred, _, _ = batch(0, size=(40, 60), images=1)
    points = [torch.tensor([[x, y] for x in range(0, 60, 3) for y in range(0, 40, 3)], dtype=torch.float32)]
    sampled = auc_borji(pred, points, splits=1000, step=0.001).item()
    assert sampled == pytest.approx(auc(pred, points).item(), abs=0.005)


def test_constant_map_scores_one_half():
    assert auc_borji(torch.full((1, 3, 4), 0.1), [torch.tensor([[0.0, 0.0], [1.0, 1.0]])]).item() == 0.5


def test_fewer_than_two_fixated_pixels_are_skipped_and_counted():
    metric = AUCBorji()
    twice_the_same = torch.tensor([[1.0, 1.0], [1.2, 1.0]])
    metric.update(
        torch.rand(3, 2, 3), [torch.zeros(0, 2), twice_the_same, torch.tensor([[0.0, 0.0], [1.0, 1.0]])]
    )
    assert metric.per_image().isnan().tolist() == [True, True, False]
    assert metric.n_skipped == 2


@pytest.mark.parametrize(
    ("options", "message"), [({"splits": 0}, "splits is 0"), ({"step": 0.0}, "step is 0")]
)
def test_numbers_that_make_no_score_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        auc_borji(torch.rand(1, 2, 3), [torch.zeros(1, 2)], **options)
