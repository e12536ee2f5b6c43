"""Rank and mass accuracy and the pointing game against loops over pixels, and against quantus."""

import numpy as np
import pytest
import torch

from salvit.metrics import MassAccuracy, PointingGame, RankAccuracy
from salvit.metrics.functional import energy_pointing, pointing_game, rank_accuracy

SIZE = (6, 7)


def maps_and_masks(levels=None, count=8):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(count, *SIZE, dtype=torch.float64, generator=generator)
    masks = [torch.rand(SIZE, generator=generator) < share for share in torch.linspace(0.1, 0.9, count)]
    return maps if levels is None else (maps * levels).floor(), masks


def chance(heatmap, mask, count):
    """Mean share of hits over many orders of the pixels that differ only where values are equal."""
    values, inside, random = heatmap.flatten().numpy(), mask.flatten().numpy(), np.random.default_rng(0)
    draws = [np.lexsort((random.random(len(values)), -values))[:count] for _ in range(4000)]
    return np.mean([inside[drawn].mean() for drawn in draws])


@pytest.mark.parametrize("levels", [None, 3])
def test_agree_with_counting_in_every_order_of_equal_pixels(levels):
    maps, masks = maps_and_masks(levels)
    ranked, pointed = rank_accuracy(maps, masks), pointing_game(maps, masks)
    for index, (heatmap, mask) in enumerate(zip(maps, masks, strict=True)):
        assert ranked[index].item() == pytest.approx(chance(heatmap, mask, int(mask.sum())), abs=0.02)
        assert pointed[index].item() == pytest.approx(chance(heatmap, mask, 1), abs=0.03)


def test_agree_with_quantus():
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    maps, masks = maps_and_masks()
    batch = {"a_batch": maps[:, None].numpy(), "s_batch": torch.stack(masks)[:, None].numpy()}
    pairs = {
        quantus.RelevanceRankAccuracy: rank_accuracy,
        quantus.RelevanceMassAccuracy: energy_pointing,
        quantus.PointingGame: pointing_game,
    }
    for theirs, ours in pairs.items():
        expected = theirs(disable_warnings=True).evaluate_batch(**batch)
        np.testing.assert_allclose(ours(maps, masks), np.asarray(expected, float), atol=1e-12)


def test_small_heatmaps_are_resized_and_constant_ones_score_by_chance():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, 4:] = True
    corner = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    assert pointing_game(corner, [mask]).item() == 1
    assert rank_accuracy(corner, [mask]).item() == 1
    assert (
        pointing_game(corner * 0 + 0.3, [mask]).item()
        == rank_accuracy(corner * 0 + 0.3, [mask]).item()
        == 0.25
    )


@pytest.mark.parametrize("kind", [MassAccuracy, RankAccuracy, PointingGame])
def test_images_without_a_mask_or_whose_heatmap_is_not_finite_are_skipped(kind):
    maps, masks = maps_and_masks(count=4)
    maps[0, 1, 1] = torch.nan
    metric = kind()
    metric.update(maps, [masks[0], None, torch.zeros(SIZE), masks[3]])
    assert metric.per_image().isnan().tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="masks has 1 entries for 4 heatmaps"):
        metric.update(maps, masks[:1])
