"""The two metrics of masks: SMM and the energy-based pointing game."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import SMM, EnergyPointing
from salvit.metrics.functional import box_masks, energy_pointing, smm
from tests.metrics import localization_reference as reference
from tests.metrics.cases import examples
from tests.metrics.heatmap_cases import SIZE, heatmap_batches, heatmaps_and_boxes


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


def test_smm_is_one_only_for_the_mask_itself():
    mask = torch.zeros(6, 8)
    mask[2:4, 3:7] = 1
    wider = mask.clone()
    wider[1] = 1
    assert smm(mask[None], [mask]).item() == 1
    assert smm(wider[None], [mask]).item() == 0.5
    assert smm(1 - mask[None], [mask]).item() == 0


def test_energy_of_the_whole_image_is_one_and_of_no_positive_value_zero():
    whole = [torch.ones(6, 8)]
    assert energy_pointing(torch.rand(1, 3, 4), whole).item() == pytest.approx(1)
    assert energy_pointing(torch.full((1, 3, 4), 1e38), whole).item() == pytest.approx(1)
    assert energy_pointing(-torch.rand(1, 3, 4), whole).item() == 0


@pytest.mark.parametrize("cls", [SMM, EnergyPointing])
def test_skipped_and_constant_images(cls):
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(1, 1, 1, 2, 2))
    masks = box_masks(boxes, SIZE)
    masks[0], masks[1] = None, torch.zeros(SIZE)
    heatmaps[2, 1, 1] = torch.inf
    heatmaps[3] = 0.2
    metric = cls()
    metric.update(heatmaps, masks)
    assert metric.per_image().isnan().tolist() == [True, True, True, False, False]
    assert (metric.n_skipped, metric.n_constant) == (3, 1)
    expected = metric.per_image()[3:].mean().item()
    assert metric.compute().item() == pytest.approx(expected)


def test_a_constant_heatmap_attends_to_nothing_and_spreads_its_energy():
    heatmap, mask = torch.full((1, 3, 4), 0.1), [torch.zeros(9, 12)]
    mask[0][:3] = 1
    assert smm(heatmap, mask).item() == 0
    assert energy_pointing(heatmap, mask).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("function", [smm, energy_pointing])
def test_bad_masks(function):
    with pytest.raises(ValueError, match=r"mask of image 1 has shape \(1, 9, 12\)"):
        function(torch.rand(2, 3, 4), [torch.ones(9, 12), torch.ones(1, 9, 12)])
    with pytest.raises(ValueError, match="masks has 1 entries for 2 heatmaps"):
        function(torch.rand(2, 3, 4), [None])


def test_bad_threshold():
    with pytest.raises(ValueError, match=r"threshold is -0\.1"):
        smm(torch.rand(1, 3, 4), [None], threshold=-0.1)
