import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salvit.extractors import AGCAM
from salvit.metrics import ABPC, DeletionInsertion, MaxSensitivity, SaCo
from salvit.metrics.functional import (
    deletion_insertion,
    group_effects,
    max_sensitivity,
    perturbation_curves,
    saco,
)
from salvit.metrics.functional.faithfulness import removed_counts
from salvit.metrics.functional.removal import filled, ranks
from tests.extractors.golden_vit import load_golden
from tests.metrics.cases import examples
from tests.metrics.models import TARGETS, forward_counter, images_and_heatmaps, tiny_vit

few = settings(deadline=None, max_examples=8)


GOLDEN = [(name, method) for name in ("square", "rect") for method in ("agcam", "rollout_start0")]


LERF = torch.tensor([[0.9, 0.8, 0.1], [0.5, 0.5, 0.5], [torch.nan] * 3, [0.6, 0.2, 0.0]])


MORF = torch.tensor([[0.9, 0.3, 0.1], [0.5, 0.5, 0.5], [torch.nan] * 3, [0.6, 0.4, 0.0]])


numbers = st.lists(st.integers(-4, 4).map(float), min_size=4, max_size=4)


IMAGES = torch.ones(2, 3, 4, 4, dtype=torch.float64)


def slow_curves(vit, images, heatmaps, targets, fills, fractions=tuple(i / 10 for i in range(11))):
    """One forward pass per image, curve and fraction; pixels sorted one by one."""
    curves = np.zeros((2, len(images), len(fractions)))
    for i, (image, heatmap) in enumerate(zip(images, heatmaps, strict=True)):
        values = heatmap.flatten().tolist()
        for order, sign in enumerate((1, -1)):
            pixels = sorted(range(len(values)), key=lambda pixel: (sign * values[pixel], pixel))
            for step, fraction in enumerate(fractions):
                changed = image.clone()
                for pixel in pixels[: int(round(fraction * len(values), 6))]:
                    y, x = divmod(pixel, image.shape[2])
                    changed[:, y, x] = fills[i, :, y, x]
                logits = vit(changed[None])[0].detach().double()
                curves[order, i, step] = logits.softmax(0)[targets[i]]
    return curves


@few
@given(seed=st.integers(0, 1000), levels=st.sampled_from([None, 1, 4]))
def test_agrees_with_removing_pixel_by_pixel(seed, levels):
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(seed, levels)
    curves = perturbation_curves(vit, images, heatmaps, TARGETS)
    expected = slow_curves(vit, images, heatmaps, TARGETS, torch.zeros_like(images))
    np.testing.assert_allclose(torch.stack(curves), expected, atol=1e-12)


@pytest.mark.parametrize("fill", ["zero", "mean", "blur", "noise"])
def test_fills(fill):
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    curves = perturbation_curves(vit, images, heatmaps, TARGETS, (0.0, 0.3, 1.0), fill=fill, seed=3)
    fills = filled(images, fill, 3).expand_as(images)
    expected = slow_curves(vit, images, heatmaps, TARGETS, fills, (0.0, 0.3, 1.0))
    np.testing.assert_allclose(torch.stack(curves), expected, atol=1e-12)
    torch.testing.assert_close(filled(images[1:2], fill, 3)[0].expand_as(images[1]), fills[1])


def test_fills_are_what_they_say():
    images, _ = images_and_heatmaps(0)
    assert filled(images, "zero").eq(0).all()
    torch.testing.assert_close(filled(images, "mean").expand_as(images)[1, 2, 5, 5], images[1, 2].mean())
    blur = filled(images, "blur")
    assert blur.var() < 0.1 * images.var()
    torch.testing.assert_close(blur.mean(), images.mean(), rtol=0, atol=0.05)
    noise = filled(images, "noise", seed=1)
    assert noise[0].equal(noise[1])
    assert not noise.equal(filled(images, "noise", seed=2))
    assert 0.9 < noise.std() < 1.1


def test_unknown_fill():
    with pytest.raises(ValueError, match='no fill "black"; expected one of zero, mean, blur, noise'):
        filled(torch.zeros(1, 3, 16, 16), "black")
    with pytest.raises(ValueError, match="4×16 pixels cannot be blurred"):
        filled(torch.zeros(1, 3, 4, 16), "blur")


def test_twenty_forward_passes_per_image():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    with forward_counter(vit) as passed:
        perturbation_curves(vit, images, heatmaps, TARGETS, batch_size=7)
    assert sum(passed) == 20 * len(images)
    assert max(passed) == 7


def test_ends_are_shared_and_batches_do_not_matter():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0, levels=3)
    lerf, morf = perturbation_curves(vit, images, heatmaps, TARGETS)
    assert lerf[:, [0, -1]].equal(morf[:, [0, -1]])
    for i in range(len(images)):
        one = perturbation_curves(
            vit, images[i : i + 1], heatmaps[i : i + 1], TARGETS[i].item(), batch_size=3
        )
        np.testing.assert_allclose(torch.cat(one), torch.stack([lerf[i], morf[i]]), atol=1e-12)


def test_small_heatmaps_are_resized():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    small = heatmaps[:, ::4, ::4]
    large = torch.nn.functional.interpolate(small[:, None], images.shape[2:], mode="bilinear")[:, 0]
    for found, expected in zip(
        perturbation_curves(vit, images, small, TARGETS),
        perturbation_curves(vit, images, large, TARGETS),
        strict=True,
    ):
        assert found.equal(expected)


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


def test_a_heatmap_that_says_nothing_or_is_not_finite():
    vit = tiny_vit()
    images, heatmaps = images_and_heatmaps(0)
    heatmaps[0] = 0.3
    heatmaps[1, 2, 3] = torch.nan
    with forward_counter(vit) as passed:
        lerf, morf = perturbation_curves(vit, images, heatmaps, TARGETS)
    assert sum(passed) == 20 * (len(images) - 1)
    assert lerf[0].equal(morf[0])
    assert lerf[1].isnan().all()
    assert morf[1].isnan().all()
    metric = ABPC()
    metric.update(lerf, morf)
    assert (metric.n_skipped, metric.n_constant) == (1, 1)
    assert metric.per_image()["ABPC"][0] == 0
    assert metric.compute()["ABPC"].isfinite()
    nothing = perturbation_curves(vit, images, heatmaps * torch.nan, TARGETS)
    assert torch.cat(nothing).isnan().all()


def test_counts_are_exact_where_floating_point_is_not():
    for pixels in (90, 170, 50176):
        counts = removed_counts([step / 10 for step in range(11)], pixels)
        assert counts == [pixels * step // 10 for step in range(11)]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"heatmaps": torch.rand(2, 8, 8)}, ValueError, "2 heatmaps for 3 images"),
        ({"heatmaps": torch.rand(3, 1, 8, 8)}, ValueError, r"expected \[B, h, w\]"),
        ({"target": 10}, ValueError, "target class 10 is outside"),
        ({"target": torch.tensor([1, 2])}, ValueError, "one per image"),
        ({"fractions": (0.0, 1.2)}, ValueError, "fractions are"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"images": torch.zeros(3, 3, 16, 16)}, ValueError, "torch.float32, the model torch.float64"),
        ({"vit": tiny_vit().train()}, ValueError, "eval"),
        ({"vit": torch.nn.Identity()}, TypeError, "plain timm ViT"),
    ],
)
def test_bad_input(change, error, message):
    images, heatmaps = images_and_heatmaps(0)
    arguments = {"vit": tiny_vit(), "images": images, "heatmaps": heatmaps, "target": TARGETS} | change
    with pytest.raises(error, match=message):
        perturbation_curves(**arguments)


def test_no_graph_is_kept_and_inference_mode_works():
    vit = tiny_vit().requires_grad_(True)
    images, heatmaps = images_and_heatmaps(0)
    assert not perturbation_curves(vit, images, heatmaps, TARGETS)[0].requires_grad
    with torch.inference_mode():
        perturbation_curves(vit, images, heatmaps, TARGETS)


def golden_case(name, method):
    vit, images, targets, golden = load_golden(f"vit_{name}")
    heatmaps = torch.tensor(golden[f"expected/abpc_{method}_heatmap"])
    curves = np.stack([golden[f"expected/abpc_{method}_{curve}"] for curve in ("lerf", "morf")])
    return vit.double(), images.double(), heatmaps, targets, curves


@pytest.mark.parametrize(("name", "method"), GOLDEN)
def test_authors_protocol_agrees_with_golden_curves(name, method):
    vit, images, heatmaps, targets, expected = golden_case(name, method)
    curves = perturbation_curves(vit, images, heatmaps, targets, reference=True)
    np.testing.assert_allclose(torch.stack(curves), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "method"), GOLDEN)
def test_golden_curves_wherever_no_equal_pixels_are_torn_apart(name, method):
    vit, images, heatmaps, targets, expected = golden_case(name, method)
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


def updated():
    metric = ABPC(steps=3)
    metric.update(LERF[:1], MORF[:1])
    metric.update(LERF[1:], MORF[1:])
    return metric


def test_areas_are_means_over_the_steps():
    metric = updated()
    per_image = metric.per_image()
    assert per_image["LeRF"][[0, 1, 3]].tolist() == pytest.approx([0.6, 0.5, 0.8 / 3])
    assert per_image["ABPC"][[0, 1, 3]].tolist() == pytest.approx([0.5 / 3, 0.0, -0.2 / 3])
    means = metric.compute()
    assert list(means) == ["LeRF", "MoRF", "ABPC"]
    assert means["ABPC"].item() == pytest.approx(means["LeRF"].item() - means["MoRF"].item())
    assert means["ABPC"].item() == pytest.approx(0.1 / 3)
    assert (metric.n_skipped, metric.n_constant) == (1, 1)


def test_mean_curves():
    lerf, morf = updated().curves()
    torch.testing.assert_close(lerf, torch.tensor([2.0, 1.5, 0.6]) / 3)
    torch.testing.assert_close(morf, torch.tensor([2.0, 1.2, 0.6]) / 3)


def test_curves_after_another_update_and_a_reset():
    metric = updated()
    before = metric.curves()[0]
    metric.update(LERF[:1], MORF[:1])
    assert not metric.curves()[0].equal(before)
    metric.reset()
    metric.update(LERF[:1], MORF[:1])
    torch.testing.assert_close(metric.curves()[0], LERF[0])
    assert (metric.n_skipped, metric.n_constant) == (0, 0)


def test_curves_of_another_length():
    with pytest.raises(ValueError, match=r"expected both \[B, 11\]: pass steps=number of fractions to ABPC"):
        ABPC().update(LERF, MORF)


def deletion_insertion_slow_curves(vit, images, heatmaps, fractions):
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
    expected = deletion_insertion_slow_curves(vit, images, heatmaps, fractions)
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


@examples
@given(salience=numbers, drops=numbers)
def test_agrees_with_comparing_pairs(salience, drops):
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


def test_agrees_with_trying_one_by_one():
    images, _ = images_and_heatmaps(0)
    vit = tiny_vit()

    def explain(batch):
        return AGCAM()(vit, batch, TARGETS)

    scores = max_sensitivity(explain, images, radius=0.1, samples=4, seed=5)
    generator = torch.Generator().manual_seed(5)
    largest = torch.zeros(3, dtype=torch.float64)
    for _ in range(4):
        moved = images + (torch.rand(3, 16, 16, generator=generator) * 2 - 1).double() * 0.1
        for i in range(3):
            before = AGCAM()(vit, images[i : i + 1], TARGETS[i])
            after = AGCAM()(vit, moved[i : i + 1], TARGETS[i])
            largest[i] = max(
                largest[i], (after - before).square().sum().sqrt() / before.square().sum().sqrt()
            )
    torch.testing.assert_close(scores, largest, rtol=1e-6, atol=0)
    assert (scores > 0).all()


def test_the_box_is_respected_and_filled():
    seen = []
    max_sensitivity(lambda x: seen.append(x) or x, IMAGES, radius=0.3, samples=50)
    deltas = torch.stack(seen[1:]) - 1
    assert deltas.abs().max() <= 0.3
    assert deltas.min() < -0.29
    assert deltas.max() > 0.29
    assert deltas[:, 0].equal(deltas[:, 1])


def test_more_samples_never_lower_it_and_the_seed_decides():
    few, many = (max_sensitivity(lambda x: x, IMAGES, samples=samples) for samples in (3, 30))
    assert (many >= few).all()
    assert many.equal(max_sensitivity(lambda x: x, IMAGES, samples=30))
    assert not many.equal(max_sensitivity(lambda x: x, IMAGES, samples=30, seed=1))


def test_maps_without_a_norm_are_skipped():
    scale = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    metric = MaxSensitivity()
    metric.update(lambda x: x * scale, IMAGES)
    metric.update(lambda x: x / scale, IMAGES)
    assert metric.per_image().isnan().tolist() == [True, False, True, False]
    assert metric.n_skipped == 2


def test_a_map_that_breaks_nearby_is_skipped():
    assert max_sensitivity(lambda x: torch.where(x == 1, x, torch.nan), IMAGES).isnan().all()


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"samples": 0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected radius > 0 and samples ≥ 1"):
        max_sensitivity(lambda x: x, IMAGES, **options)
