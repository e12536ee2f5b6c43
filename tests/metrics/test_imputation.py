"""ROAD's imputation against a dense solver, pixel by pixel, and against quantus."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch.nn import functional as F

from salvit.metrics.functional import imputation, perturbation_curves
from salvit.metrics.functional.imputation import impute
from tests.metrics.test_faithfulness import TARGETS, images_and_heatmaps, probability, tiny_vit

SIZE = (9, 13)


def images_and_masks(share=0.5):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, *SIZE, dtype=torch.float64, generator=generator)
    removed = torch.rand(3, 1, *SIZE, generator=generator) < share
    removed[2, :, 2:, 3:] = True  # a large hole
    return images, removed


def slow_imputation(image, removed):
    """One equation per pixel, solved as a whole."""
    height, width = removed.shape
    matrix, right = np.eye(height * width), image.reshape(3, -1).T.copy()
    for y, x in np.argwhere(removed):
        row = y * width + x
        matrix[row], right[row] = 0, 0
        for dy, dx in np.ndindex(3, 3):
            i, j = y + dy - 1, x + dx - 1
            if (dy, dx) != (1, 1) and 0 <= i < height and 0 <= j < width:
                weight = 1 / 6 if 1 in (dy, dx) else 1 / 12
                matrix[row, row] += weight
                matrix[row, i * width + j] -= weight
    return np.linalg.solve(matrix, right).T.reshape(image.shape)


def sparse_imputation(image, removed):
    """The same equations by a direct solver for sparse matrices."""
    height, width = removed.shape
    weights = sparse.lil_array((height * width, height * width))
    for y, x in np.argwhere(removed):
        for dy, dx in np.ndindex(3, 3):
            i, j = y + dy - 1, x + dx - 1
            if (dy, dx) != (1, 1) and 0 <= i < height and 0 <= j < width:
                weights[y * width + x, i * width + j] = 1 / 6 if 1 in (dy, dx) else 1 / 12
    sums = np.where(removed.ravel(), weights.sum(axis=1), 1)
    right = np.where(removed.ravel(), 0, image.reshape(3, -1))
    solved = spsolve((sparse.diags_array(sums) - weights).tocsc(), right.T)
    return solved.T.reshape(image.shape)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_agrees_with_a_dense_solver(share):
    images, removed = images_and_masks(share)
    found = impute(images, removed, noise=0.0)
    for image, mask, result in zip(images, removed, found, strict=True):
        np.testing.assert_allclose(result, slow_imputation(image.numpy(), mask[0].numpy()), atol=2e-4)
        assert result[:, ~mask[0]].equal(image[:, ~mask[0]])


@pytest.mark.parametrize(
    ("holes", "share"), [("one", 0.97), ("blobs", 0.97), ("pixels", 0.97), ("pixels", 0.5)]
)
def test_few_steps_are_enough_for_holes_of_any_size(holes, share, monkeypatch):
    monkeypatch.setattr(imputation, "_MOST_STEPS", 18)
    size = (51, 90)  # odd on the finer and on the coarser grids
    generator = torch.Generator().manual_seed(0)
    grain = {"one": (2, 2), "blobs": (6, 9), "pixels": size}[holes]
    values = F.interpolate(torch.rand(1, 1, *grain, generator=generator), size, mode="bilinear")
    removed = values < values.flatten().quantile(share)
    images = torch.randn(1, 3, *size, dtype=torch.float64, generator=generator)
    found = impute(images, removed, noise=0.0)
    np.testing.assert_allclose(
        found[0], sparse_imputation(images[0].numpy(), removed[0, 0].numpy()), atol=1e-3
    )


def test_agrees_with_quantus():
    quantus = pytest.importorskip("quantus.functions.perturb_func", exc_type=ImportError)
    images, removed = images_and_masks()
    found = impute(images, removed, noise=0.0)
    for image, mask, result in zip(images, removed, found, strict=True):
        indices = np.flatnonzero(mask)
        expected = quantus.noisy_linear_imputation(image.numpy(), indices, noise=0.0)
        np.testing.assert_allclose(result, expected, atol=2e-4)


def test_noise_is_on_removed_pixels_only_and_the_seed_decides():
    images, removed = images_and_masks()
    plain, noisy, other = (impute(images, removed, *options) for options in [(0.0,), (0.1, 1), (0.1, 2)])
    kept = ~removed.expand_as(images)
    assert noisy[kept].equal(images[kept])
    assert 0.09 < (noisy - plain)[~kept].std() < 0.11
    assert not noisy.equal(other)
    assert noisy.equal(impute(images, removed, 0.1, 1))


def test_all_or_nothing_removed_and_images_that_are_solved_at_once():
    images, removed = images_and_masks()
    removed[0], removed[1] = True, False
    found = impute(images, removed, noise=0.0)
    torch.testing.assert_close(found[0], images[0].mean((1, 2), keepdim=True).expand_as(images[0]))
    assert found[1].equal(images[1])
    np.testing.assert_allclose(found[2], slow_imputation(images[2].numpy(), removed[2, 0].numpy()), atol=2e-4)


def test_curves_with_the_fill_linear():
    vit, (images, heatmaps) = tiny_vit(), images_and_heatmaps(0)
    lerf, morf = perturbation_curves(vit, images, heatmaps, TARGETS, (0.0, 0.3, 1.0), fill="linear", seed=3)
    noise = 0.01 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(3))
    for image, heatmap, target, curves in zip(
        images, heatmaps, TARGETS, torch.stack([lerf, morf], 1), strict=True
    ):
        for curve, descending in zip(curves, (False, True), strict=True):
            pixels = heatmap.flatten().argsort(descending=descending)[: int(0.3 * 256)].tolist()
            removed = torch.zeros(256, dtype=torch.bool).index_fill(0, torch.tensor(pixels), True)
            fill = torch.from_numpy(slow_imputation(image.numpy(), removed.view(16, 16).numpy())) + noise
            expected = probability(vit, image, fill, pixels, target)
            assert curve[1].item() == pytest.approx(expected, abs=1e-4)
