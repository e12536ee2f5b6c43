import numpy as np
import pytest
import torch

from salvit.metrics import DeletionInsertion
from salvit.metrics.functional import deletion_insertion
from salvit.metrics.functional.removal import filled
from tests.metrics.models import TARGETS, forward_counter, images_and_heatmaps, tiny_vit


def slow_curves(vit, images, heatmaps, fractions):
    """Pixels swapped one by one between the image and its finish, as the public evaluator does."""
    blurred = filled(images, "blur")
    curves = []
    for start, finish in ((images, torch.zeros_like(images)), (blurred, images)):
        rows = []
        for i, heatmap in enumerate(heatmaps):
            values = heatmap.flatten().tolist()
            pixels = sorted(range(len(values)), key=lambda pixel: (-values[pixel], pixel))
            changed, row, done = start[i].clone(), [], 0
            for fraction in fractions:
                for pixel in pixels[done : int(fraction * len(values))]:
                    y, x = divmod(pixel, images.shape[3])
                    changed[:, y, x] = finish[i, :, y, x]
                done = int(fraction * len(values))
                row.append(vit(changed[None])[0].softmax(0)[TARGETS[i]].item())
            rows.append(row)
        curves.append(rows)
    return curves


@pytest.mark.parametrize("levels", [None, 3])
def test_agrees_with_swapping_pixel_by_pixel(levels):
    vit, fractions = tiny_vit(), (0.0, 0.25, 0.5, 0.75, 1.0)
    images, heatmaps = images_and_heatmaps(0, levels)
    with forward_counter(vit) as passed:
        curves = deletion_insertion(vit, images, heatmaps, TARGETS, fractions)
    assert sum(passed) == 2 * len(fractions) * len(images)
    expected = slow_curves(vit, images, heatmaps, fractions)
    np.testing.assert_allclose(torch.stack(curves), expected, atol=1e-12)


def test_areas_are_the_public_evaluators():
    curves = torch.rand(2, 4, 11, dtype=torch.float64)
    metric = DeletionInsertion().set_dtype(torch.float64)
    metric.update(*curves)
    for name, curve in zip(("deletion", "insertion"), curves.numpy(), strict=True):
        mean = curve.mean(0)
        expected = (mean.sum() - mean[0] / 2 - mean[-1] / 2) / (len(mean) - 1)
        assert metric.compute()[name].item() == pytest.approx(expected)


def test_a_heatmap_that_is_not_finite_is_skipped():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    heatmaps[2, 0, 0] = torch.inf
    metric = DeletionInsertion(steps=3)
    metric.update(*deletion_insertion(vit, images, heatmaps, TARGETS, (0.0, 0.5, 1.0)))
    assert metric.per_image()["insertion"].isnan().tolist() == [False, False, True]
    assert metric.n_skipped == 1
    deletion, insertion = metric.curves()
    assert deletion[0].item() == pytest.approx(insertion[-1].item())
