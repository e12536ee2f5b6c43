import pytest
import torch
from hypothesis import given

from salvit.metrics import BoxLocalization, BoxSweep
from salvit.metrics.functional import box_sweep
from tests.metrics import localization_reference as reference
from tests.metrics.cases import examples
from tests.metrics.heatmap_cases import SIZE, heatmap_batches, heatmaps_and_boxes

THRESHOLDS = (0.0, 0.21, 0.48, 0.83)


@examples
@given(heatmap_batches)
def test_agrees_with_loops_over_pixels(case):
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


def test_the_threshold_is_one_for_all_images():
    # The first image is best above 0.5, the second below: no threshold serves both.
    heatmaps = torch.tensor([[[1.0, 0.5, 0.5, 0.0]], [[1.0, 0.5, 0.5, 0.0]]])
    boxes = [torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 3.0, 1.0]])]
    metric = BoxSweep(thresholds=(0.2, 0.7))
    metric.update(heatmaps, boxes, (1, 4))
    scores = {name: score.item() for name, score in metric.compute().items()}
    assert scores["best_iou"] == pytest.approx((1 / 3 + 1) / 2)
    assert scores["best_threshold"] == pytest.approx(0.2)
    assert scores["MaxBoxAcc"] == 0.5
    assert scores["MaxBoxAccV2"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert metric.per_image()["best_iou"].tolist() == pytest.approx([1 / 3, 1])


def test_v2_takes_the_best_region_and_the_first_version_the_largest():
    heatmap = torch.tensor([[[1.0, 1.0, 0.0, 1.0]]])
    metric = BoxSweep(thresholds=(0.5,))
    metric.update(heatmap, [torch.tensor([[3.0, 0.0, 4.0, 1.0]])], (1, 4))
    scores = metric.compute()
    assert (scores["MaxBoxAcc"].item(), scores["MaxBoxAccV2"].item()) == (0, 1)


@pytest.mark.parametrize(("width", "v2"), [(10, 1 / 3), (7, 1 / 3), (5, 2 / 3), (4, 1.0)])
def test_an_iou_of_exactly_the_threshold_counts(width, v2):
    # 3 of 10, 3 of 7, 3 of 5 and 3 of 4 pixels.
    heatmap = torch.tensor([[[1.0] * 3 + [0.0] * 7]])
    metric = BoxSweep(thresholds=(0.5,))
    metric.update(heatmap, [torch.tensor([[0.0, 0.0, width, 1.0]])], (1, 10))
    assert metric.compute()["MaxBoxAccV2"].item() == pytest.approx(v2)


def test_at_one_half_it_is_box_localization():
    heatmaps, boxes = heatmaps_and_boxes(1)
    sweep, fixed = BoxSweep(thresholds=(0.5,)), BoxLocalization()
    for metric in (sweep, fixed):
        metric.update(heatmaps, boxes, SIZE)
    assert sweep.compute()["best_iou"] == fixed.compute()["iou"]


def test_skipped_and_constant_images():
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(0, 1, 2))
    heatmaps[1] = 0.3
    metric = BoxSweep()
    metric.update(heatmaps, boxes, SIZE)
    assert (metric.n_skipped, metric.n_constant) == (1, 1)
    assert metric.per_image()["best_iou"][1] == 0
    alone = BoxSweep()
    alone.update(heatmaps[2:], boxes[2:], SIZE)
    assert metric.compute()["best_iou"].item() == pytest.approx(alone.compute()["best_iou"].item() / 2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_no_image_to_score():
    metric = BoxSweep()
    assert all(score.isnan() for score in metric.compute().values())
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(0, 0))
    metric.update(heatmaps, boxes, SIZE)
    assert all(score.isnan() for score in metric.compute().values())
    assert metric.n_skipped == 2


@pytest.mark.parametrize("thresholds", [(), (0.5, 1.0), (-0.1,)])
def test_bad_thresholds(thresholds):
    heatmaps, boxes = heatmaps_and_boxes(0)
    with pytest.raises(ValueError, match="expected at least one, all in"):
        box_sweep(heatmaps, boxes, SIZE, thresholds)
