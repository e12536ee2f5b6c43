import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import BoxLocalization
from salvit.metrics.functional import box_localization, box_masks
from tests.metrics import localization_reference as reference
from tests.metrics.cases import examples
from tests.metrics.heatmap_cases import SIZE, heatmap_batches, heatmaps_and_boxes

NAMES = ["pixel_accuracy", "iou", "dice", "precision", "recall"]
WHOLE = torch.tensor([[0.0, 0.0, 12.0, 9.0]])


def rows(scores):
    return torch.stack([scores[name] for name in NAMES], 1)


@examples
@given(heatmap_batches, st.sampled_from([0.0, 0.5, 0.8]), st.booleans())
def test_agrees_with_loops_over_pixels(case, threshold, as_authors):
    heatmaps, boxes = case
    scores = rows(box_localization(heatmaps, boxes, SIZE, threshold, as_authors))
    expected = [
        reference.localization(heatmap.tolist(), corners.tolist(), SIZE, threshold, as_authors)
        for heatmap, corners in zip(heatmaps, boxes, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-12)


@examples
@given(heatmap_batches, st.randoms(use_true_random=False))
def test_boxes_count_as_their_union(case, random):
    heatmaps, boxes = case
    shuffled = [corners[random.sample(range(len(corners)), len(corners))] for corners in boxes]
    doubled = [torch.cat([corners, corners[:1]]) for corners in shuffled]
    scores = rows(box_localization(heatmaps, boxes, SIZE))
    np.testing.assert_array_equal(rows(box_localization(heatmaps, doubled, SIZE)), scores)


@examples
@given(heatmap_batches, st.permutations(range(3)))
def test_images_do_not_depend_on_each_other(case, order):
    heatmaps, boxes = case
    permuted = box_localization(heatmaps[order], [boxes[i] for i in order], SIZE)
    np.testing.assert_array_equal(rows(permuted), rows(box_localization(heatmaps, boxes, SIZE))[order])


@examples
@given(heatmap_batches, st.floats(0.01, 100), st.floats(-10, 10))
def test_scores_are_consistent(case, scale, offset):
    heatmaps, boxes = case
    scores = rows(box_localization(heatmaps * scale + offset, boxes, SIZE))
    accuracy, iou, dice, precision, recall = scores[~scores.isnan().any(1)].unbind(1)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou), atol=1e-12)
    assert (iou <= torch.minimum(precision, recall)).all()
    assert ((accuracy >= 0) & (accuracy <= 1)).all()


def test_diagonal_neighbours_are_one_region():
    heatmap = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    scores = box_localization(heatmap, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])], (3, 3))
    assert rows(scores).tolist() == [[1.0] * 5]


def test_rounding_on_a_plateau_is_no_peak():
    heatmap = torch.tensor([[[0.1, 0.1, 0.1, 0.4], [0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]]])
    scores = box_localization(heatmap, [torch.tensor([[50.0, 0.0, 100.0, 70.0]])], (105, 100), threshold=0.0)
    assert scores["precision"].item() > 0.7


def test_a_value_at_the_threshold_is_no_peak():
    heatmap = torch.tensor([[[0.0, 0.5, 1.0]]])
    scores = box_localization(heatmap, [torch.tensor([[1.0, 0.0, 3.0, 1.0]])], (1, 3))
    assert scores["iou"].item() == 0.5


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.0, 0.0, 3.0, 1.0), [1, 1, 1]),
        ((0.5, 0.0, 3.0, 1.0), [1, 1, 1]),
        ((0.51, 0.0, 2.5, 1.0), [0, 1, 0]),
        ((1.0, 0.4, 2.0, 0.6), [0, 1, 0]),
        ((-1e-4, 0.0, 3.0001, 1.0), [1, 1, 1]),
    ],
)
def test_a_pixel_belongs_to_a_box_if_its_centre_does(box, pixels):
    assert box_masks([torch.tensor([box])], (1, 3))[0].int().tolist() == [pixels]


def test_an_empty_prediction_scores_zero_and_one_in_the_authors_script():
    heatmap, box = torch.full((1, 3, 4), 0.1), [torch.tensor([[0.0, 0.0, 6.0, 9.0]])]
    assert rows(box_localization(heatmap, box, SIZE)).tolist() == [[0.5, 0.0, 0.0, 0.0, 0.0]]
    scores = box_localization(heatmap, box, SIZE, reference=True)
    assert scores["precision"].item() == 1
    assert scores["recall"].item() < 1e-6


def test_the_authors_boxes_are_one_pixel_wider():
    heatmap = torch.zeros(1, 9, 12)
    heatmap[0, 2:4, 3:6] = 1
    scores = box_localization(heatmap, [torch.tensor([[3.0, 2.0, 6.0, 4.0]])], SIZE, reference=True)
    assert scores["precision"].item() == pytest.approx(6 / 12, abs=1e-5)
    assert scores["recall"].item() == 1


@pytest.mark.parametrize("value", [0.1, -0.3, 1e-30, 1e30])
def test_rounding_of_a_constant_heatmap_is_no_peak(value):
    scores = box_localization(
        torch.full((1, 14, 14), value), [torch.tensor([[0.0, 0.0, 9.0, 9.0]])], (97, 89)
    )
    assert scores["iou"].item() == 0


def test_images_that_cannot_be_scored_are_skipped_and_constant_ones_counted():
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(2, 0, 1, 1, 2))
    heatmaps[2, 0, 0] = torch.nan
    heatmaps[3] = 0.7
    metric = BoxLocalization()
    metric.update(heatmaps[:2], boxes[:2], SIZE)
    metric.update(heatmaps[2:], boxes[2:], SIZE)
    assert metric.per_image()["dice"].isnan().tolist() == [False, True, True, False, False]
    assert (metric.n_skipped, metric.n_constant) == (2, 1)
    expected = rows(box_localization(heatmaps, boxes, SIZE)).nanmean(0)
    assert list(metric.compute()) == NAMES
    np.testing.assert_allclose(list(metric.compute().values()), expected, atol=1e-7)
    metric.reset()
    metric.update(heatmaps[:1], boxes[:1], SIZE)
    assert (metric.n_skipped, metric.n_constant) == (0, 0)


def test_a_box_around_no_pixel_centre_is_no_box():
    scores = box_localization(torch.rand(1, 3, 4), [torch.tensor([[0.6, 0.6, 1.4, 1.4]])], SIZE)
    assert rows(scores).isnan().all()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 13, 9), r"box 1 of image 0, \(0.0, 0.0, 13.0, 9.0\), lies outside its 9×12"),
        ((-1, 0, 3, 3), "lies outside"),
        ((3, 3, 3, 5), "has no area"),
        ((5, 3, 3, 5), "has no area"),
        ((0, 0, float("nan"), 3), "lies outside"),
    ],
)
def test_bad_boxes_are_named(box, message):
    boxes = torch.cat([WHOLE, torch.tensor([box], dtype=torch.float32)])
    with pytest.raises(ValueError, match=message):
        box_localization(torch.rand(1, 3, 4), [boxes], SIZE)


@pytest.mark.parametrize(
    ("heatmaps", "boxes", "threshold", "message"),
    [
        (torch.rand(1, 1, 3, 4), [WHOLE], 0.5, r"\[B, h, w\]: of an extractor's maps"),
        (torch.rand(2, 3, 4), [WHOLE], 0.5, "boxes has 1 entries for 2 heatmaps"),
        (torch.rand(1, 3, 4), [WHOLE[0]], 0.5, r"boxes of image 0 have shape \(4,\)"),
        (torch.rand(1, 3, 4), [WHOLE], 1.0, r"threshold is 1.0; expected a value in \[0, 1\)"),
    ],
)
def test_bad_input(heatmaps, boxes, threshold, message):
    with pytest.raises(ValueError, match=message):
        box_localization(heatmaps, boxes, SIZE, threshold)


def test_empty_batch():
    assert box_localization(torch.zeros(0, 3, 4), [], SIZE)["iou"].shape == (0,)
