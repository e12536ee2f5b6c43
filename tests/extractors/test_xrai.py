"""XRAI against its algorithm written out and against the authors' package."""

import importlib.util

import numpy as np
import pytest
import torch

from salvit.extractors import METHODS, XRAI
from salvit.extractors.choice import supported_methods
from salvit.extractors.xrai import rank, regions
from tests.registry import nothing_computed

TARGETS = torch.tensor([4, 0, 2])
needs_regions = pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="needs scikit-image")


def slow_rank(attribution, masks):
    """Region by region, pixels as sets."""
    pixels = [set(zip(*np.nonzero(mask), strict=True)) for mask in masks]
    found, taken = np.full(attribution.shape, np.nan), set()

    def mean(places):
        return sum(attribution[place] for place in places) / len(places)

    while candidates := [one - taken for one in pixels if len(one - taken) >= 50]:
        new = max(candidates, key=mean)
        for place in new:
            found[place] = mean(new)
        taken |= new
    left = np.isnan(found)
    found[left] = attribution[left].mean()
    return found


def test_regions_are_taken_in_the_order_of_their_means():
    generator = np.random.default_rng(0)
    attribution = generator.normal(size=(30, 40))
    masks = np.zeros((9, 30, 40), bool)
    for mask in masks:
        top, left = generator.integers(0, 20), generator.integers(0, 25)
        mask[top : top + generator.integers(5, 18), left : left + generator.integers(5, 25)] = True
    found = rank(attribution, masks)
    np.testing.assert_allclose(found, slow_rank(attribution, masks), rtol=1e-10)
    np.testing.assert_allclose(found.sum(), attribution.sum(), rtol=1e-10)
    assert len(np.unique(found)) > 4


@needs_regions
def test_attribution_is_that_of_two_paths(vit, images):
    """By 400 steps of the midpoint rule; the map is what `rank` makes of it, so its sum is that of the attribution."""
    image, total = images[0], 0
    for value in (image.min(), image.max()):
        for alphas in ((torch.arange(400) + 0.5) / 400).double().split(100):
            path = (value + alphas[:, None, None, None] * (image - value)).requires_grad_()
            with torch.enable_grad():
                gradient = torch.autograd.grad(vit(path)[:, 4].sum(), path)[0].sum(0) / 400
            total = total + (image - value) * gradient / 2
    attribution = total.amax(0)
    found = XRAI(steps=40)(vit, images[:1], 4)[0, 0]
    torch.testing.assert_close(found.sum(), attribution.sum(), rtol=1e-3, atol=0)
    expected = torch.from_numpy(rank(attribution.numpy(), regions(image.movedim(0, -1).numpy())))
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.999


@needs_regions
def test_asks_as_often_as_it_says(vit, images):
    counted = []
    vit.register_forward_pre_hook(lambda module, args: counted.append(len(args[0])))
    XRAI(steps=3)(vit, images[:1], 0)
    assert sum(counted) == XRAI(steps=3).forward_passes(vit) == 6


@needs_regions
def test_an_object_is_a_region():
    picture = 0.02 * np.random.default_rng(0).normal(size=(64, 96, 3))
    inside = np.zeros((64, 96), bool)
    inside[16:44, 30:70] = True
    picture[inside] += 1
    masks = regions(picture)
    overlap = [(mask & inside).sum() / (mask | inside).sum() for mask in masks]
    assert max(overlap) > 0.55  # grown by five pixels on each side
    assert masks.sum(0).min() >= 6


@needs_regions
def test_maps_of_the_authors_package(vit, images):
    package = pytest.importorskip("saliency.core")
    pictures = images.movedim(1, -1).numpy()
    found = XRAI(steps=8)(vit, images, TARGETS)[:, 0].numpy()
    for index, picture in enumerate(pictures):
        target, image = TARGETS[index], images[index]

        def gradients(batch, call_model_args=None, expected_keys=None, target=target):
            pixels = torch.from_numpy(np.asarray(batch)).double().movedim(-1, 1).requires_grad_()
            with torch.enable_grad():
                [gradient] = torch.autograd.grad(vit(pixels)[:, target].sum(), pixels)
            return {package.INPUT_OUTPUT_GRADIENTS: gradient.movedim(1, -1).numpy()}

        expected = package.XRAI().GetMask(picture, gradients, batch_size=100)
        assert np.corrcoef(found[index].ravel(), expected.ravel())[0, 1] > 0.99
        # From the same attributions, the same map.
        attribution = np.random.default_rng(index).normal(size=picture.shape[:2])
        expected = package.XRAI().GetMask(picture, None, base_attribution=np.dstack([attribution] * 3))
        ours = rank(attribution, regions(image.movedim(0, -1).numpy()))
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-12)


def test_without_scikit_image_it_is_left_out(vit, images, monkeypatch):
    monkeypatch.setattr("salvit.extractors.xrai.find_spec", lambda name: None)
    with nothing_computed(), pytest.raises(ModuleNotFoundError, match=r"pip install 'salvit\[regions\]'$"):
        XRAI()(vit, images)
    supported, refused = supported_methods(vit, [METHODS["xrai"](), METHODS["rollout"]()])
    assert list(supported) == ["rollout"]
    assert "needs scikit-image" in refused["xrai"]


@needs_regions
def test_an_image_of_one_colour_is_one_region(vit):
    assert regions(np.full((32, 48, 3), 0.3)).shape == (6, 32, 48)
    assert not XRAI(steps=2)(vit, torch.full((1, 3, 32, 48), 0.3, dtype=torch.float64), 1).any()
