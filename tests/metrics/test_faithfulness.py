import math
from contextlib import contextmanager
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer

from salvit.extractors import AGCAM
from salvit.metrics import ABPC, DeletionInsertion, MaxSensitivity, SaCo
from salvit.metrics.functional import (
    deletion_insertion,
    group_effects,
    max_sensitivity,
    perturbation_curves,
    saco,
)
from salvit.metrics.functional.removal import filled, ranks
from tests.extractors.golden_vit import load_golden
from tests.metrics.cases import examples

GOLDEN = [(name, method) for name in ("square", "rect") for method in ("agcam", "rollout_start0")]
LERF = torch.tensor([[0.9, 0.8, 0.1], [0.5, 0.5, 0.5], [torch.nan] * 3, [0.6, 0.2, 0.0]])
MORF = torch.tensor([[0.9, 0.3, 0.1], [0.5, 0.5, 0.5], [torch.nan] * 3, [0.6, 0.4, 0.0]])
TARGETS = torch.tensor([3, 0, 7])
IMAGES = torch.ones(2, 3, 4, 4, dtype=torch.float64)
few = settings(deadline=None, max_examples=4)
numbers = st.lists(st.integers(-4, 4).map(float), min_size=4, max_size=4)


def tiny_vit():
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=10, dynamic_img_size=True
    )
    for parameter in vit.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return vit.double().requires_grad_(False).eval()


def images_and_heatmaps(seed, levels=None, size=(16, 16)):
    """Three images with heatmaps at their size; `levels` makes values tie."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(3, 3, *size, dtype=torch.float64, generator=generator)
    heatmaps = torch.rand(3, *size, dtype=torch.float64, generator=generator)
    return images, heatmaps if levels is None else (heatmaps * levels).floor()


@contextmanager
def forward_counter(vit):
    """Images of each forward pass inside the `with` block."""
    passed = []
    handle = vit.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
    try:
        yield passed
    finally:
        handle.remove()


def ordered(heatmap, sign=-1):
    """Pixels from the most relevant to the least, or with a sign of 1 the other way."""
    values = heatmap.flatten().tolist()
    return sorted(range(len(values)), key=lambda pixel: (sign * values[pixel], pixel))


def probability(vit, image, fill, pixels, target):
    """Of the target, with some pixels taken from another image, one by one."""
    changed = image.clone()
    for pixel in pixels:
        y, x = divmod(pixel, image.shape[2])
        changed[:, y, x] = fill[:, y, x]
    return vit(changed[None])[0].detach().double().softmax(0)[target].item()


def slow_curve(vit, images, heatmaps, fills, fractions, sign=-1):
    """One forward pass per image and fraction."""
    return [
        [
            probability(vit, image, fill, pixels[: int(round(fraction * len(pixels), 6))], target)
            for fraction in fractions
        ]
        for image, fill, pixels, target in zip(
            images, fills, [ordered(heatmap, sign) for heatmap in heatmaps], TARGETS, strict=True
        )
    ]


@pytest.mark.parametrize("fill", ["zero", "mean", "blur", "noise"])
@few
@given(seed=st.integers(0, 1000), levels=st.sampled_from([None, 1, 4]))
def test_curves_agree_with_removing_pixel_by_pixel(fill, seed, levels):
    vit, fractions = tiny_vit(), [step / 10 for step in range(11)]
    images, heatmaps = images_and_heatmaps(seed, levels)
    curves = perturbation_curves(vit, images, heatmaps, TARGETS, fill=fill, seed=3)
    fills = filled(images, fill, 3).expand_as(images)
    expected = [slow_curve(vit, images, heatmaps, fills, fractions, sign) for sign in (1, -1)]
    np.testing.assert_allclose(torch.stack(curves), expected, atol=1e-12)
    torch.testing.assert_close(filled(images[1:2], fill, 3)[0].expand_as(images[1]), fills[1])


def test_fills_are_what_they_say():
    images, _ = images_and_heatmaps(0)
    assert filled(images, "zero").eq(0).all()
    torch.testing.assert_close(filled(images, "mean").expand_as(images)[1, 2, 5, 5], images[1, 2].mean())
    blur, noise = filled(images, "blur"), filled(images, "noise", seed=1)
    assert blur.var() < 0.1 * images.var()
    torch.testing.assert_close(blur.mean(), images.mean(), rtol=0, atol=0.05)
    assert noise[0].equal(noise[1])
    assert not noise.equal(filled(images, "noise", seed=2))
    assert 0.9 < noise.std() < 1.1
    with pytest.raises(ValueError, match='no fill "black"; expected one of zero, mean, blur, noise'):
        filled(images, "black")
    with pytest.raises(ValueError, match="4×16 pixels cannot be blurred"):
        filled(torch.zeros(1, 3, 4, 16), "blur")


def test_curves_share_their_ends_cost_twenty_passes_keep_no_graph_and_do_not_depend_on_batches():
    vit = tiny_vit().requires_grad_(True)
    images, heatmaps = images_and_heatmaps(0, levels=3)
    with forward_counter(vit) as passed:
        lerf, morf = perturbation_curves(vit, images, heatmaps, TARGETS, batch_size=7)
    assert (sum(passed), max(passed)) == (20 * len(images), 7)
    assert not lerf.requires_grad
    assert lerf[:, [0, -1]].equal(morf[:, [0, -1]])
    for i in range(len(images)):
        image, heatmap = images[i : i + 1], heatmaps[i : i + 1]
        one = perturbation_curves(vit, image, heatmap, TARGETS[i].item(), batch_size=3)
        np.testing.assert_allclose(torch.cat(one), torch.stack([lerf[i], morf[i]]), atol=1e-12)


def test_small_heatmaps_are_resized():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    small = heatmaps[:, ::4, ::4]
    large = torch.nn.functional.interpolate(small[:, None], images.shape[2:], mode="bilinear")[:, 0]
    found, expected = (perturbation_curves(vit, images, maps, TARGETS) for maps in (small, large))
    assert torch.stack(found).equal(torch.stack(expected))


def test_only_the_order_matters_however_small_most_values_are():
    """Peaks of 1 over a floor of 1e-8 are ordered as evenly spread values are; in float32 as in float64."""
    even = torch.rand(3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = ranks(even, descending=True)
    for peaked in (even, (18 * (even - 1)).exp()):
        assert torch.equal(ranks(peaked, descending=True), expected)
        moved = (ranks(peaked.float(), descending=True) - expected).abs()
        assert moved.max() <= 3  # pixels that agree to five digits, of 500
        assert (moved > 0).double().mean() < 0.02


def test_rounding_does_not_order_equal_pixels():
    equal = torch.full((2, 400), 1 / 3)
    noisy = equal * (1 + 1e-7 * torch.randn(2, 400, generator=torch.Generator().manual_seed(0)))
    noisy[:, 7] = 1
    assert len(noisy.unique()) > 3
    in_reading_order = [7, *range(7), *range(8, 400)]
    assert ranks(noisy, descending=True).argsort(dim=1).tolist() == [in_reading_order] * 2


def test_a_constant_heatmap_has_equal_curves_and_one_that_is_not_finite_none():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    heatmaps[0] = 0.3
    heatmaps[1, 2, 3] = torch.nan
    with forward_counter(vit) as passed:
        lerf, morf = perturbation_curves(vit, images, heatmaps, TARGETS)
    assert sum(passed) == 20 * (len(images) - 1)
    assert lerf[0].equal(morf[0])
    assert torch.stack([lerf[1], morf[1]]).isnan().all()
    metric = ABPC()
    metric.update(lerf, morf)
    assert metric.n_skipped == 1
    assert metric.per_image()["ABPC"][0] == 0
    assert metric.compute()["ABPC"].isfinite()
    nothing = perturbation_curves(vit, images, heatmaps * torch.nan, TARGETS)
    assert torch.cat(nothing).isnan().all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"heatmaps": torch.rand(2, 8, 8)}, ValueError, "2 heatmaps for 3 images"),
        ({"heatmaps": torch.rand(3, 1, 8, 8)}, ValueError, r"expected \[B, h, w\]"),
        ({"target": 10}, ValueError, "target class 10 is outside"),
        ({"fractions": (0.0, 1.2)}, ValueError, "fractions are"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"vit": torch.nn.Identity()}, TypeError, "plain timm ViT"),
    ],
)
def test_bad_input(change, error, message):
    images, heatmaps = images_and_heatmaps(0)
    arguments = {"vit": tiny_vit(), "images": images, "heatmaps": heatmaps, "target": TARGETS} | change
    with pytest.raises(error, match=message):
        perturbation_curves(**arguments)


@pytest.mark.parametrize(("name", "method"), GOLDEN)
def test_curves_agree_with_golden_ones(name, method):
    vit, images, targets, golden = load_golden(f"vit_{name}")
    vit, images = vit.double(), images.double()
    heatmaps = torch.tensor(golden[f"expected/abpc_{method}_heatmap"])
    expected = np.stack([golden[f"expected/abpc_{method}_{curve}"] for curve in ("lerf", "morf")])
    protocol = perturbation_curves(vit, images, heatmaps, targets, reference=True)
    np.testing.assert_allclose(torch.stack(protocol), expected, rtol=0, atol=1e-12)
    # In reading order the curves are the same where no equal pixels are torn apart.
    found = torch.stack(perturbation_curves(vit, images, heatmaps, targets)).numpy()
    ascending = heatmaps.flatten(1).sort(dim=1).values
    pixels = ascending.shape[1]
    clear = np.ones(found.shape, dtype=bool)
    for step in range(1, 10):
        k = pixels * step // 10
        clear[0, :, step] = ascending[:, k - 1] < ascending[:, k]
        clear[1, :, step] = ascending[:, pixels - k - 1] < ascending[:, pixels - k]
    assert clear[:, :, 1:10].mean() > 0.3
    np.testing.assert_allclose(found[clear], expected[clear], rtol=0, atol=1e-12)
    # Elsewhere a handful of pixels differ.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)
    np.testing.assert_allclose(found.mean(2), expected.mean(2), rtol=0, atol=0.003)


@pytest.fixture
def metric():
    metric = ABPC(steps=3)
    for part in (slice(0, 1), slice(1, 4)):
        metric.update(LERF[part], MORF[part])
    return metric


def test_areas_are_means_over_the_steps(metric):
    per_image = metric.per_image()
    assert per_image["LeRF"][[0, 1, 3]].tolist() == pytest.approx([0.6, 0.5, 0.8 / 3])
    assert per_image["ABPC"][[0, 1, 3]].tolist() == pytest.approx([0.5 / 3, 0.0, -0.2 / 3])
    means = {name: score.item() for name, score in metric.compute().items()}
    assert means == pytest.approx({"LeRF": 4.1 / 9, "MoRF": 3.8 / 9, "ABPC": 0.1 / 3})
    assert metric.n_skipped == 1


def test_mean_curves_also_after_another_update_and_a_reset(metric):
    lerf, morf = metric.curves()
    torch.testing.assert_close(lerf, torch.tensor([2.0, 1.5, 0.6]) / 3)
    torch.testing.assert_close(morf, torch.tensor([2.0, 1.2, 0.6]) / 3)
    metric.update(LERF[:1], MORF[:1])
    assert not metric.curves()[0].equal(lerf)
    metric.reset()
    metric.update(LERF[:1], MORF[:1])
    torch.testing.assert_close(metric.curves()[0], LERF[0])
    assert metric.n_skipped == 0
    with pytest.raises(ValueError, match=r"expected both \[B, 11\]: pass steps=number of fractions to ABPC"):
        ABPC().update(LERF, MORF)


@pytest.mark.parametrize("levels", [None, 3])
def test_deletion_and_insertion_agree_with_swapping_pixel_by_pixel(levels):
    vit, fractions = tiny_vit(), (0.0, 0.25, 0.5, 0.75, 1.0)
    images, heatmaps = images_and_heatmaps(0, levels)
    with forward_counter(vit) as passed:
        curves = deletion_insertion(vit, images, heatmaps, TARGETS, fractions)
    # The image as it is serves both curves.
    assert sum(passed) == (2 * len(fractions) - 1) * len(images)
    swaps = ((images, torch.zeros_like(images)), (filled(images, "blur"), images))
    expected = [slow_curve(vit, start, heatmaps, finish, fractions) for start, finish in swaps]
    np.testing.assert_allclose(torch.stack(curves), expected, atol=1e-12)


def test_areas_are_the_public_evaluators():
    curves = torch.rand(2, 4, 11, dtype=torch.float64)
    metric = DeletionInsertion().set_dtype(torch.float64)
    metric.update(*curves)
    for name, curve in zip(("deletion", "insertion"), curves.numpy(), strict=True):
        mean = curve.mean(0)
        expected = (mean.sum() - mean[0] / 2 - mean[-1] / 2) / (len(mean) - 1)
        assert metric.compute()[name].item() == pytest.approx(expected)


def slow_saco(salience, drops):
    weights = [
        salience[i] - salience[j] if drops[i] >= drops[j] else salience[j] - salience[i]
        for i, j in combinations(range(len(salience)), 2)
    ]
    return sum(weights) / sum(map(abs, weights)) if any(weights) else math.nan


@examples
@given(salience=numbers, drops=numbers)
def test_saco_agrees_with_comparing_pairs(salience, drops):
    salience = sorted(salience, reverse=True)
    score = saco(torch.tensor([salience]), torch.tensor([drops])).item()
    np.testing.assert_allclose(score, slow_saco(salience, drops), atol=1e-12)


@pytest.mark.parametrize(("groups", "levels"), [(10, None), (10, 3), (7, None)])
def test_groups_are_removed_one_by_one(groups, levels):
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0, levels)
    with forward_counter(vit) as passed:
        salience, drops = group_effects(vit, images, heatmaps, TARGETS, groups)
    assert sum(passed) == (groups + 1) * len(images)
    for i, image in enumerate(images):
        pixels, values = ordered(heatmaps[i]), heatmaps[i].flatten()
        mean = image.mean((1, 2), keepdim=True).expand_as(image)
        whole = probability(vit, image, mean, [], TARGETS[i])
        for group in range(groups):
            part = pixels[group * len(pixels) // groups : (group + 1) * len(pixels) // groups]
            without = probability(vit, image, mean, part, TARGETS[i])
            assert salience[i, group].item() == pytest.approx(values[part].sum().item(), abs=1e-12)
            assert drops[i, group].item() == pytest.approx(whole - without, abs=1e-12)


def test_saco_skips_constant_heatmaps_and_those_that_are_not_finite():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    heatmaps[0] = 0.1
    heatmaps[1, 0, 0] = torch.nan
    metric = SaCo()
    metric.update(*group_effects(vit, images, heatmaps, TARGETS))
    assert metric.per_image().isnan().tolist() == [True, True, False]
    assert -1 <= metric.compute().item() <= 1


def test_bad_input_of_saco_and_sensitivity():
    images, heatmaps = images_and_heatmaps(0)
    for groups in (1, 257):
        with pytest.raises(ValueError, match=rf"groups is {groups}; expected 2 … 256"):
            group_effects(tiny_vit(), images, heatmaps, TARGETS, groups)
    with pytest.raises(ValueError, match=r"salience has shape \(1, 3\) and drops \(1, 2\)"):
        saco(torch.zeros(1, 3), torch.zeros(1, 2))
    for options in ({"radius": 0.0}, {"samples": 0}):
        with pytest.raises(ValueError, match="expected radius > 0 and samples ≥ 1"):
            max_sensitivity(lambda x: x, IMAGES, **options)


def test_sensitivity_agrees_with_trying_one_by_one():
    vit, (images, _) = tiny_vit(), images_and_heatmaps(0)
    scores = max_sensitivity(lambda x: AGCAM()(vit, x, TARGETS), images, radius=0.1, samples=4, seed=5)
    generator = torch.Generator().manual_seed(5)
    changes = []
    for _ in range(4):
        moved = images + (torch.rand(3, 16, 16, generator=generator) * 2 - 1).double() * 0.1
        for i in range(3):
            before, after = (AGCAM()(vit, x[i : i + 1], TARGETS[i]) for x in (images, moved))
            changes.append((after - before).square().sum().sqrt() / before.square().sum().sqrt())
    expected = torch.stack(changes).reshape(4, 3).amax(0)
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=0)
    assert (scores > 0).all()


def test_moves_fill_the_radius_more_of_them_never_lower_it_and_the_seed_decides():
    seen = []
    max_sensitivity(lambda x: seen.append(x) or x, IMAGES, radius=0.3, samples=50)
    deltas = torch.stack(seen[1:]) - 1
    assert -0.3 <= deltas.min() < -0.29
    assert 0.29 < deltas.max() <= 0.3
    assert deltas[:, 0].equal(deltas[:, 1])
    few, many = (max_sensitivity(lambda x: x, IMAGES, samples=samples) for samples in (3, 30))
    assert (many >= few).all()
    assert many.equal(max_sensitivity(lambda x: x, IMAGES, samples=30))
    assert not many.equal(max_sensitivity(lambda x: x, IMAGES, samples=30, seed=1))


def test_maps_without_a_norm_or_that_break_nearby_are_skipped():
    scale = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    metric = MaxSensitivity()
    metric.update(lambda x: x * scale, IMAGES)
    metric.update(lambda x: x / scale, IMAGES)
    assert metric.per_image().isnan().tolist() == [True, False, True, False]
    assert max_sensitivity(lambda x: torch.where(x == 1, x, torch.nan), IMAGES).isnan().all()
