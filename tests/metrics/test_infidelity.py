"""Infidelity against removing square by square, and against quantus on the same squares."""

import numpy as np
import pytest
import torch

from salvit.metrics import Case, Infidelity
from salvit.metrics.functional import infidelity, square_effects
from salvit.metrics.functional.infidelity import random_squares
from tests.metrics.test_faithfulness import (
    TARGETS,
    forward_counter,
    images_and_heatmaps,
    probability,
    tiny_vit,
)


@pytest.mark.parametrize("scaled", [True, False])
def test_agrees_with_removing_square_by_square(scaled):
    vit, (images, heatmaps) = tiny_vit(), images_and_heatmaps(0)
    with forward_counter(vit) as passed:
        sums, drops = square_effects(vit, images, heatmaps, TARGETS, squares=6, fill="mean", seed=2)
    assert sum(passed) == 7 * len(images)
    found = infidelity(sums, drops, scaled)
    masks = random_squares(6, (16, 16), seed=2)
    for index, image in enumerate(images):
        mean = image.mean((1, 2), keepdim=True).expand_as(image)
        whole = probability(vit, image, mean, [], TARGETS[index])
        s, d = [], []
        for mask in masks:
            pixels = mask.flatten().nonzero().flatten().tolist()
            s.append(sum(heatmaps[index].flatten()[pixels].tolist()))
            d.append(whole - probability(vit, image, mean, pixels, TARGETS[index]))
        factor = np.linalg.lstsq(np.array(s)[:, None], np.array(d))[0][0] if scaled else 1
        expected = np.mean((factor * np.array(s) - np.array(d)) ** 2)
        assert found[index].item() == pytest.approx(expected, abs=1e-12)


def test_agrees_with_quantus():
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    vit, (_, heatmaps) = tiny_vit(), images_and_heatmaps(0)
    images = torch.ones(
        3, 3, 16, 16, dtype=torch.float64
    )  # so that removal to zero removes 1 from each value
    squares = iter(~random_squares(16, (16, 16)).numpy())

    class Model:
        def shape_input(self, x, *_, **__):
            return x

        def predict(self, x):
            return vit(torch.as_tensor(x)).softmax(-1).numpy()

    theirs = quantus.Infidelity(
        perturb_func=lambda arr, indices, **_: (images.numpy() * next(squares)).reshape(3, -1),
        perturb_patch_sizes=[4],  # 16 patches of the image: as many calls
        n_perturb_samples=1,
        disable_warnings=True,
    )
    expected = theirs.evaluate_batch(
        Model(), images.numpy(), TARGETS.numpy(), np.repeat(heatmaps[:, None].numpy() / 3, 3, axis=1)
    )
    found = infidelity(*square_effects(vit, images, heatmaps, TARGETS, squares=16), scaled=False)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_squares_lie_in_the_image_and_have_all_sides():
    masks = random_squares(400, (40, 60))
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    assert heights.equal(widths)
    assert masks.sum((1, 2)).equal(heights * widths)
    assert (heights.min(), heights.max()) == (4, 20)
    reached = masks.any(0)
    assert all(edge.any() for edge in (reached[0], reached[-1], reached[:, 0], reached[:, -1]))
    assert not masks.equal(random_squares(400, (40, 60), seed=1))


def test_scale_does_not_count_zeros_are_worst_and_maps_that_are_not_finite_are_skipped():
    vit, (images, heatmaps) = tiny_vit(), images_and_heatmaps(0)
    effects = square_effects(vit, images, heatmaps, TARGETS, squares=8)
    torch.testing.assert_close(infidelity(effects[0] * -1e6, effects[1]), infidelity(*effects))
    worst = infidelity(effects[0] * 0, effects[1])
    torch.testing.assert_close(worst, effects[1].square().mean(1))
    assert (infidelity(*effects) <= worst).all()
    heatmaps[1, 0, 0] = torch.nan
    metric = Infidelity(squares=8)
    metric.score(Case(vit, images, TARGETS, heatmaps, lambda images: heatmaps, {}))
    assert metric.per_image().isnan().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="squares is 0"):
        square_effects(vit, images, heatmaps, TARGETS, squares=0)
    with pytest.raises(ValueError, match=r"sums have shape \(1, 2\) and drops \(1, 3\)"):
        infidelity(torch.zeros(1, 2), torch.zeros(1, 3))
