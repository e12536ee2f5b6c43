"""Integrated gradients and SmoothGrad: sums that they must have, slow references, and captum."""

import pytest
import torch

from salvit.extractors import InputGradient, IntegratedGradients, SmoothGrad, extract

TARGETS = torch.tensor([4, 0, 2])


def test_a_map_sums_to_what_the_image_adds_to_the_logit(vit, images):
    before, after = (vit(one).gather(1, TARGETS[:, None])[:, 0] for one in (0 * images, images))
    maps = IntegratedGradients(steps=60)(vit, images, TARGETS)
    torch.testing.assert_close(maps.sum((1, 2, 3)), after - before, rtol=1e-4, atol=1e-4)


def test_more_steps_are_a_finer_riemann_sum(vit, images):
    """The integral by 2,000 steps of the midpoint rule, of one image."""
    image, total = images[:1], 0
    with torch.enable_grad():
        for alphas in ((torch.arange(2000) + 0.5) / 2000).double().split(100):
            path = (alphas[:, None, None, None] * image).requires_grad_()
            total = total + torch.autograd.grad(vit(path)[:, 4].sum(), path)[0].sum(0)
    expected = (image[0] * total / 2000).sum(0)
    maps = IntegratedGradients(steps=60)(vit, image, 4)[0, 0]
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_integrated_gradients_of_captum(vit, images):
    attr = pytest.importorskip("captum.attr")
    expected = attr.IntegratedGradients(vit).attribute(images, target=TARGETS, n_steps=7).sum(1).detach()
    maps = IntegratedGradients(steps=7)(vit, images, TARGETS)[:, 0]
    # Its points of the path are in float32.
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def noise(images, samples, share, seed=0):
    """[B, samples, 3, H, W], the same draws for every image."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack(
        [torch.randn(images.shape[1:], generator=generator, dtype=torch.float64) for _ in range(samples)]
    )
    return torch.stack([share * (image.max() - image.min()) * drawn for image in images])


def test_smoothgrad_matches_slow_reference(vit, images):
    expected = []
    for image, drawn, target in zip(images, noise(images, 3, 0.2, seed=5), TARGETS, strict=True):
        gradients = []
        for one in drawn:
            pixels = (image + one)[None].requires_grad_()
            with torch.enable_grad():
                gradients += torch.autograd.grad(vit(pixels)[0, target], pixels)[0]
        expected.append(torch.stack(gradients).mean(0).abs().amax(0))
    maps = SmoothGrad(samples=3, noise=0.2, seed=5)(vit, images, TARGETS)
    torch.testing.assert_close(maps[:, 0], torch.stack(expected), rtol=1e-8, atol=1e-12)


def test_smoothgrad_of_captum(vit, images, monkeypatch):
    attr = pytest.importorskip("captum.attr")
    drawn = noise(images, 4, 0.15)
    monkeypatch.setattr(torch, "normal", lambda *_: drawn.flatten(0, 1))
    tunnel = attr.NoiseTunnel(attr.Saliency(vit))
    found = tunnel.attribute(images, nt_samples=4, stdevs=1.0, target=TARGETS, abs=False).detach()
    maps = SmoothGrad(samples=4)(vit, images, TARGETS)
    torch.testing.assert_close(maps[:, 0], found.abs().amax(1), rtol=1e-8, atol=1e-12)


def test_without_noise_it_is_the_gradient(vit, images):
    maps = SmoothGrad(samples=2, noise=0.0)(vit, images, TARGETS)
    torch.testing.assert_close(maps, InputGradient()(vit, images, TARGETS), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("integrated_gradients", {"steps": 0}, "steps must be at least 1"),
        ("smoothgrad", {"samples": 0}, "samples must be at least 1"),
        ("smoothgrad", {"noise": -0.1}, "noise must be 0 or more"),
    ],
)
def test_options_that_mean_nothing(vit, images, method, options, said):
    with pytest.raises(ValueError, match=said):
        extract(vit, images, method, **options)
