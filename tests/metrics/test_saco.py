import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import SaCo
from salvit.metrics.functional import group_effects, saco
from tests.metrics.cases import examples
from tests.metrics.models import TARGETS, forward_counter, images_and_heatmaps, tiny_vit


def slow_saco(salience, drops):
    total = weights = 0.0
    for i in range(len(salience)):
        for j in range(i + 1, len(salience)):
            weight = salience[i] - salience[j] if drops[i] >= drops[j] else salience[j] - salience[i]
            total += weight
            weights += abs(weight)
    return total / weights if weights else math.nan


def slow_effects(vit, image, heatmap, target, groups):
    values = heatmap.flatten().tolist()
    pixels = sorted(range(len(values)), key=lambda pixel: (-values[pixel], pixel))
    whole = vit(image[None])[0].softmax(0)[target].item()
    salience, drops = [], []
    for group in range(groups):
        part = pixels[group * len(pixels) // groups : (group + 1) * len(pixels) // groups]
        changed = image.clone()
        for pixel in part:
            y, x = divmod(pixel, image.shape[2])
            changed[:, y, x] = image.mean((1, 2))
        salience.append(sum(values[pixel] for pixel in part))
        drops.append(whole - vit(changed[None])[0].softmax(0)[target].item())
    return salience, drops


numbers = st.lists(st.integers(-4, 4).map(float), min_size=4, max_size=4)


@examples
@given(salience=numbers, drops=numbers)
def test_agrees_with_comparing_pairs(salience, drops):
    salience = sorted(salience, reverse=True)
    score = saco(torch.tensor([salience]), torch.tensor([drops])).item()
    np.testing.assert_allclose(score, slow_saco(salience, drops), atol=1e-12)


@pytest.mark.parametrize(("drops", "score"), [([3.0, 2.0, 1.0], 1), ([1.0, 2.0, 3.0], -1), ([1.0] * 3, 1)])
def test_best_and_worst(drops, score):
    assert saco(torch.tensor([[5.0, 1.0, 0.0]]), torch.tensor([drops])).item() == score


@pytest.mark.parametrize(("groups", "levels"), [(10, None), (10, 3), (7, None)])
def test_groups_are_removed_one_by_one(groups, levels):
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0, levels)
    with forward_counter(vit) as passed:
        salience, drops = group_effects(vit, images, heatmaps, TARGETS, groups)
    assert sum(passed) == (groups + 1) * len(images)
    for i in range(len(images)):
        expected = slow_effects(vit, images[i], heatmaps[i], TARGETS[i], groups)
        np.testing.assert_allclose(torch.stack([salience[i], drops[i]]), expected, atol=1e-12)


def test_constant_and_broken_heatmaps_are_skipped():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    heatmaps[0] = 0.1
    heatmaps[1, 0, 0] = torch.nan
    metric = SaCo()
    metric.update(*group_effects(vit, images, heatmaps, TARGETS))
    assert metric.per_image().isnan().tolist() == [True, True, False]
    assert metric.n_skipped == 2
    assert -1 <= metric.compute().item() <= 1


@pytest.mark.parametrize("groups", [1, 257])
def test_bad_number_of_groups(groups):
    images, heatmaps = images_and_heatmaps(0)
    with pytest.raises(ValueError, match=rf"groups is {groups}; expected 2 … 256"):
        group_effects(tiny_vit(), images, heatmaps, TARGETS, groups)


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"salience has shape \(1, 3\) and drops \(1, 2\)"):
        saco(torch.zeros(1, 3), torch.zeros(1, 2))
