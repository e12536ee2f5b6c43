import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import SMM, BoxLocalization, BoxSweep, EnergyPointing
from salvit.metrics.functional import box_localization, box_masks, box_sweep, energy_pointing, smm
from tests.metrics import localization_reference as reference
from tests.metrics.cases import examples
from tests.metrics.heatmap_cases import SIZE, heatmap_batches, heatmaps_and_boxes

NAMES = ["pixel_accuracy", "iou", "dice", "precision", "recall"]
WHOLE = torch.tensor([[0.0, 0.0, 12.0, 9.0]])
THRESHOLDS = (0.0, 0.21, 0.48, 0.83)


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


@pytest.mark.parametrize(
    ("heatmap", "box", "scores"),
    [
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], (0, 0, 2, 2), [1.0] * 5),  # one region
        (
            [[0.0, 0.5, 1.0]],
            (1, 0, 3, 1),
            [2 / 3, 0.5, 2 / 3, 1.0, 0.5],
        ),  # a value at the threshold is no peak
    ],
)
def test_regions(heatmap, box, scores):
    heatmap = torch.tensor([heatmap])
    found = rows(box_localization(heatmap, [torch.tensor([box])], tuple(heatmap.shape[1:])))
    assert found[0].tolist() == pytest.approx(scores)


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


@pytest.mark.parametrize("value", [0.1, -0.3, 1e-30, 1e30])
def test_rounding_of_constant_values_is_no_peak(value):
    boxes = [torch.tensor([[50.0, 0.0, 100.0, 70.0]])]
    assert box_localization(torch.full((1, 14, 14), value), boxes, (105, 100))["iou"].item() == 0
    plateau = torch.full((1, 3, 4), value)
    plateau[0, 0, 3] += 3 * abs(value)
    assert box_localization(plateau, boxes, (105, 100), threshold=0.0)["precision"].item() > 0.7


def test_images_without_boxes_or_finite_values_are_skipped_and_constant_ones_score_zero():
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(2, 0, 1, 1, 2))
    heatmaps[2, 0, 0] = torch.nan
    heatmaps[3] = 0.7
    boxes[1] = torch.tensor([[0.6, 0.6, 1.4, 1.4]])  # around no pixel's centre
    metric, sweep = BoxLocalization(), BoxSweep()
    for part in (slice(0, 2), slice(2, 5)):
        metric.update(heatmaps[part], boxes[part], SIZE)
        sweep.update(heatmaps[part], boxes[part], SIZE)
    for scores in (metric.per_image()["iou"], sweep.per_image()["best_iou"]):
        assert scores.isnan().tolist() == [False, True, True, False, False]
        assert scores[3] == 0
    assert metric.n_skipped == sweep.n_skipped == 2
    expected = rows(box_localization(heatmaps, boxes, SIZE)).nanmean(0)
    assert list(metric.compute()) == NAMES
    np.testing.assert_allclose(list(metric.compute().values()), expected, atol=1e-7)


def with_box(*corners):
    return {"boxes": [torch.cat([WHOLE, torch.tensor([corners], dtype=torch.float32)])]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_box(0, 0, 13, 9), r"box 1 of image 0, \(0.0, 0.0, 13.0, 9.0\), lies outside its 9×12"),
        (with_box(-1, 0, 3, 3), "lies outside"),
        (with_box(5, 3, 3, 5), "has no area"),
        (with_box(0, 0, torch.nan, 3), "lies outside"),
        ({"boxes": [WHOLE[0]]}, r"boxes of image 0 have shape \(4,\)"),
        ({"boxes": [WHOLE, WHOLE]}, "boxes has 2 entries for 1 heatmaps"),
        ({"heatmaps": torch.rand(1, 1, 3, 4)}, r"\[B, h, w\]: of an extractor's maps"),
        ({"threshold": 1.0}, r"threshold is 1.0; expected a value in \[0, 1\)"),
    ],
)
def test_bad_input_of_boxes(change, message):
    with pytest.raises(ValueError, match=message):
        box_localization(**{"heatmaps": torch.rand(1, 3, 4), "boxes": [WHOLE], "size": SIZE} | change)


@examples
@given(heatmap_batches)
def test_box_sweep_agrees_with_loops_over_pixels(case):
    heatmaps, boxes = case
    found = box_sweep(heatmaps, boxes, SIZE, THRESHOLDS)
    for image, (heatmap, corners) in enumerate(zip(heatmaps, boxes, strict=True)):
        for step, threshold in enumerate(THRESHOLDS):
            if not len(corners):
                assert all(ious[image].isnan().all() for ious in found)
                continue
            union, largest, best = reference.sweep(heatmap.tolist(), corners.tolist(), SIZE, threshold)
            assert found.union[image, step].item() == pytest.approx(union, abs=1e-6)
            assert any(found.largest[image, step].item() == pytest.approx(x, abs=1e-6) for x in largest)
            assert found.best[image, step].item() == pytest.approx(best, abs=1e-6)


def test_one_threshold_for_all_images_v2_of_the_best_region_and_the_first_version_of_the_largest():
    # The first image is best above 0.5, the second below: no threshold serves both.
    heatmaps = torch.tensor([[[1.0, 0.5, 0.5, 0.0]], [[1.0, 0.5, 0.5, 0.0]]])
    boxes = [torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 3.0, 1.0]])]
    metric = BoxSweep(thresholds=(0.2, 0.7))
    metric.update(heatmaps, boxes, (1, 4))
    scores = {name: score.item() for name, score in metric.compute().items()}
    expected = {"best_iou": (1 / 3 + 1) / 2, "best_threshold": 0.2, "MaxBoxAcc": 0.5, "MaxBoxAccV2": 2 / 3}
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert metric.per_image()["best_iou"].tolist() == pytest.approx([1 / 3, 1])
    metric = BoxSweep(thresholds=(0.5,))
    metric.update(torch.tensor([[[1.0, 1.0, 0.0, 1.0]]]), [torch.tensor([[3.0, 0.0, 4.0, 1.0]])], (1, 4))
    scores = metric.compute()
    assert (scores["MaxBoxAcc"].item(), scores["MaxBoxAccV2"].item()) == (0, 1)


@pytest.mark.parametrize(("width", "v2"), [(10, 1 / 3), (7, 1 / 3), (5, 2 / 3), (4, 1.0)])
def test_an_iou_of_exactly_the_threshold_counts(width, v2):
    # 3 of 10, 3 of 7, 3 of 5 and 3 of 4 pixels.
    heatmap = torch.tensor([[[1.0] * 3 + [0.0] * 7]])
    metric = BoxSweep(thresholds=(0.5,))
    metric.update(heatmap, [torch.tensor([[0.0, 0.0, width, 1.0]])], (1, 10))
    assert metric.compute()["MaxBoxAccV2"].item() == pytest.approx(v2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_no_image_or_no_threshold_to_score():
    metric = BoxSweep()
    assert all(score.isnan() for score in metric.compute().values())
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(0, 0))
    metric.update(heatmaps, boxes, SIZE)
    assert all(score.isnan() for score in metric.compute().values())
    assert metric.n_skipped == 2
    for thresholds in ((), (0.5, 1.0), (-0.1,)):
        with pytest.raises(ValueError, match="expected at least one, all in"):
            box_sweep(heatmaps, boxes, SIZE, thresholds)


@examples
@given(heatmap_batches, st.sampled_from([0.0, 0.5]))
def test_smm_agrees_with_loops_over_pixels(case, threshold):
    heatmaps, boxes = case
    scores = smm(heatmaps, box_masks(boxes, SIZE), threshold).tolist()
    for heatmap, corners, score in zip(heatmaps, boxes, scores, strict=True):
        target = reference.inside(corners.tolist(), SIZE)
        values = reference.unit(reference.resized(heatmap.tolist(), SIZE))
        attended = set().union(*reference.components(values, threshold))
        expected = len(attended & target) / len(attended | target) if target else np.nan
        np.testing.assert_allclose(score, expected, atol=1e-12)


@examples
@given(heatmap_batches, st.floats(0, 0.5))
def test_energy_agrees_with_loops_over_pixels(case, shift):
    heatmaps, boxes = case
    heatmaps = heatmaps - shift
    scores = energy_pointing(heatmaps, box_masks(boxes, SIZE)).tolist()
    for heatmap, corners, score in zip(heatmaps, boxes, scores, strict=True):
        target = reference.inside(corners.tolist(), SIZE)
        rows = reference.resized(heatmap.tolist(), SIZE)
        energy = {(y, x): max(value, 0.0) for y, row in enumerate(rows) for x, value in enumerate(row)}
        total = sum(energy.values())
        expected = sum(energy[pixel] for pixel in target) / total if total > 1e-12 else 0.0
        np.testing.assert_allclose(score, expected if target else np.nan, atol=1e-9)


@pytest.mark.parametrize("cls", [SMM, EnergyPointing])
def test_images_without_masks_or_finite_values_are_skipped(cls):
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(1, 1, 1, 2, 2))
    masks = box_masks(boxes, SIZE)
    masks[0], masks[1] = None, torch.zeros(SIZE)
    heatmaps[2, 1, 1] = torch.inf
    metric = cls()
    metric.update(heatmaps, masks)
    assert metric.per_image().isnan().tolist() == [True, True, True, False, False]
    assert metric.n_skipped == 3
    assert metric.compute().item() == pytest.approx(metric.per_image()[3:].mean().item())


def test_masks_against_extreme_heatmaps():
    """The whole image has all energy, a heatmap without positive values none; a constant one spreads it."""
    whole, third = [torch.ones(9, 12)], [torch.zeros(9, 12)]
    third[0][:3] = 1
    for heatmap in (torch.rand(1, 3, 4), torch.full((1, 3, 4), 1e38)):
        assert energy_pointing(heatmap, whole).item() == pytest.approx(1)
    assert energy_pointing(-torch.rand(1, 3, 4), whole).item() == 0
    constant = torch.full((1, 3, 4), 0.1)
    assert smm(constant, third).item() == 0
    assert energy_pointing(constant, third).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("function", [smm, energy_pointing])
def test_bad_masks(function):
    with pytest.raises(ValueError, match=r"mask of image 1 has shape \(1, 9, 12\)"):
        function(torch.rand(2, 3, 4), [torch.ones(9, 12), torch.ones(1, 9, 12)])
    with pytest.raises(ValueError, match="masks has 1 entries for 2 heatmaps"):
        function(torch.rand(2, 3, 4), [None])
    with pytest.raises(ValueError, match=r"threshold is -0\.1"):
        smm(torch.rand(1, 3, 4), [None], threshold=-0.1)
