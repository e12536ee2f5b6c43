"""TokenCut and LOST against the papers' steps written out for one image, and what their masks are."""

import numpy as np
import pytest
import scipy.linalg
import torch

from salvit.extractors import LOST, TokenCut, extract
from salvit.extractors.tokencut import second_eigenvector
from salvit.metrics import BoxSweep
from tests.extractors import slow_vit


def keys_of(vit, image, block=-1):
    """Keys of the patches [n, D] by hand."""
    index = range(len(vit.blocks))[block]
    name, weights = f"blocks.{index}.attn.qkv", dict(vit.state_dict())
    normed = slow_vit.run(vit, image).normed[block].detach()
    qkv = normed @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return qkv.chunk(3, 1)[1][1:].numpy()


def connected(mask, seed):
    """Patches that are reached from the seed, step by step."""
    reached, height, width = {seed}, *mask.shape
    while True:
        beside = {(y + dy, x + dx) for y, x in reached for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))}
        new = {(y, x) for y, x in beside if 0 <= y < height and 0 <= x < width and mask[y, x]} - reached
        if not new:
            return reached
        reached |= new


def as_mask(grid, seed):
    found = np.zeros(grid.shape)
    for place in connected(grid > 0, divmod(seed, grid.shape[1])):
        found[place] = 1
    return found


def slow_tokencut(keys):
    units = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    weights = np.where(units @ units.T >= 0.2, 1.0, 1e-5)
    degrees = np.diag(weights.sum(1))
    _, vectors = scipy.linalg.eigh(degrees - weights, degrees)
    vector = vectors[:, 1]
    seed = int(np.flatnonzero(np.abs(vector) > 0.9999 * np.abs(vector).max())[0])
    vector = vector - vector.mean()
    return (vector if vector[seed] > 0 else -vector).reshape(4, 6), seed


def slow_lost(keys, patches):
    products = keys @ keys.T
    degrees = (products > 0).sum(1)
    order = sorted(range(len(keys)), key=lambda p: degrees[p])
    seeds = [p for p in order[:patches] if products[order[0], p] > 0]
    return products[:, seeds].sum(1).reshape(4, 6), order[0]


@pytest.mark.parametrize("block", [-1, 0])
def test_tokencut_matches_slow_reference(make_vit, images, block):
    vit = make_vit(img_size=(32, 48))
    slow = [slow_tokencut(keys_of(vit, image, block)) for image in images]
    maps = TokenCut(block=block)(vit, images)[:, 0].numpy()
    np.testing.assert_allclose(maps, np.stack([grid for grid, _ in slow]), rtol=1e-6, atol=1e-9)
    masks = TokenCut(mask=True, block=block)(vit, images)[:, 0].numpy()
    np.testing.assert_array_equal(masks, np.stack([as_mask(*one) for one in slow]))
    assert 0 < masks.mean() < 1


@pytest.mark.parametrize(("patches", "block"), [(100, -1), (5, -1), (1, 0)])
def test_lost_matches_slow_reference(make_vit, images, patches, block):
    vit = make_vit(img_size=(32, 48))
    slow = [slow_lost(keys_of(vit, image, block), patches) for image in images]
    maps = LOST(patches, block=block)(vit, images)[:, 0].numpy()
    np.testing.assert_allclose(maps, np.stack([grid for grid, _ in slow]), rtol=1e-8, atol=1e-10)
    masks = LOST(patches, mask=True, block=block)(vit, images)[:, 0].numpy()
    np.testing.assert_array_equal(masks, np.stack([as_mask(*one) for one in slow]))


def test_an_object_is_cut_out():
    """Twelve patches of one kind among 36 of another, with noise."""
    generator = torch.Generator().manual_seed(0)
    features = 0.3 * torch.randn(1, 48, 16, generator=generator, dtype=torch.float64)
    inside = torch.arange(48) % 4 == 1
    features[:, inside, 0] += 2
    features[:, ~inside, 1] += 2
    vector = second_eigenvector(features, 0.2)[0]
    side = vector > vector.mean()
    assert torch.equal(side, inside) or torch.equal(side, ~inside)


def test_the_box_of_a_mask_scores_corloc(make_vit, images):
    """The share of images with an IoU of a half: one box that is the mask's, one that is far from it."""
    vit = make_vit(img_size=(32, 48))
    masks = TokenCut(mask=True)(vit, images[:2])[:, 0].float()
    rows, columns = (torch.nonzero(masks[0].any(1 - axis)).flatten() * 8 for axis in (0, 1))
    right = torch.tensor([[columns[0], rows[0], columns[-1] + 8, rows[-1] + 8]]).float()
    metric = BoxSweep()
    metric.update(masks, [right, torch.tensor([[0.0, 0.0, 1.0, 1.0]])], size=(32, 48))
    assert metric.compute()["MaxBoxAcc"] == 0.5


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("tokencut", {"threshold": 1.0}, "threshold must be between -1 and 1"),
        ("lost", {"patches": 0}, "patches must be at least 1"),
    ],
)
def test_options_that_mean_nothing(vit, images, method, options, said):
    with pytest.raises(ValueError, match=said):
        extract(vit, images, method, **options)
