import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salvit.metrics import ABPC
from salvit.metrics.functional import perturbation_curves
from salvit.metrics.functional.faithfulness import removed_counts
from salvit.metrics.functional.removal import filled, ranks
from tests.extractors.golden_vit import load_golden
from tests.metrics.models import TARGETS, forward_counter, images_and_heatmaps, tiny_vit

few = settings(deadline=None, max_examples=8)


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


def test_equal_pixels_go_in_reading_order():
    heatmap = torch.tensor([[2.0, 1.0, 2.0, 1.0, 2.0]])
    assert ranks(heatmap, descending=False).tolist() == [[2, 0, 3, 1, 4]]
    assert ranks(heatmap, descending=True).tolist() == [[0, 3, 1, 4, 2]]


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


GOLDEN = [(name, method) for name in ("square", "rect") for method in ("agcam", "rollout_start0")]


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
