"""AttnLRP against its rules written out layer by layer, and against the authors' package."""

import pytest
import torch

from benchmarks.lxt_vit import patch_relevance
from salvit.extractors import AttnLRP, InputXGradient
from salvit.vit import load_vit
from tests.extractors.attn_lrp_reference import Slow
from tests.registry import randomize

TARGETS = torch.tensor([4, 0, 2])


def references(vit, images):
    """Maps of pixels, patches and attention of the slow reference."""
    slow = [Slow(vit, image) for image in images]
    pixels = torch.stack([one.explain(int(t)) for one, t in zip(slow, TARGETS, strict=True)])
    patches = torch.stack([one.patches for one in slow]).reshape(3, 4, 6)
    attention = torch.stack([torch.stack(one.attention).sum(0) for one in slow]).reshape(3, 4, 6)
    return {"pixels": pixels, "patches": patches, "attention": attention}


def test_matches_the_rules_written_out(make_vit, images):
    vit = make_vit(img_size=(32, 48))
    for of, expected in references(vit, images).items():
        maps = AttnLRP(of)(vit, images, TARGETS)[:, 0]
        torch.testing.assert_close(maps, expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))


def test_matches_the_authors_package(make_vit, images):
    pytest.importorskip("lxt.explicit.functional")
    vit = make_vit(img_size=(32, 48))
    expected = patch_relevance(vit, images, TARGETS).reshape(3, 4, 6)
    maps = AttnLRP("patches")(vit, images, TARGETS)[:, 0]
    # The package's ε in norms is 1e-6.
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def without_what_keeps_relevance(vit):
    """Without biases, and without attention, whose softmax keeps some as well: only the MLPs and norms are left."""
    for name, parameter in vit.named_parameters():
        if "bias" in name or name in ("cls_token", "pos_embed") or ".attn.proj." in name:
            parameter.data.zero_()
    return vit


@pytest.mark.parametrize("of", ["pixels", "patches"])
def test_relevance_is_conserved_where_nothing_keeps_it(make_vit, images, of):
    vit = without_what_keeps_relevance(make_vit(global_pool="avg"))
    logits = vit(images).gather(1, TARGETS[:, None])[:, 0]
    maps = AttnLRP(of)(vit, images, TARGETS)
    torch.testing.assert_close(maps.sum((1, 2, 3)), logits, rtol=1e-8, atol=0)


def test_the_factors_of_a_gated_mlp_take_half():
    """Together they get what their product has; with the gradient, which has no half, it would be more."""
    vit = randomize(load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5))
    vit = without_what_keeps_relevance(vit.double())
    pixels = torch.randn(1, 3, 28, 28, dtype=torch.float64)
    total = AttnLRP("patches")(vit, pixels, 3).sum()
    torch.testing.assert_close(total, vit(pixels)[0, 3], rtol=1e-8, atol=0)


def test_it_is_not_the_gradient(vit, images):
    gradient = InputXGradient()(vit, images, TARGETS)
    assert not torch.allclose(AttnLRP("pixels")(vit, images, TARGETS), gradient, rtol=0.1)


@pytest.mark.parametrize("of", ["pixels", "patches", "attention"])
@pytest.mark.parametrize("trainable", [False, True])
def test_weights_that_are_trained_change_nothing(vit, images, of, trainable):
    expected = AttnLRP(of)(vit, images, TARGETS)
    vit.requires_grad_(trainable)
    torch.testing.assert_close(AttnLRP(of)(vit, images, TARGETS), expected, rtol=0, atol=1e-12)
    assert all(weight.requires_grad == trainable for weight in vit.parameters())


@pytest.mark.parametrize("of", ["pixels", "patches", "attention"])
def test_half_precision_and_autocast(vit, images, of):
    expected = AttnLRP(of)(vit.float(), images.float(), TARGETS)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = AttnLRP(of)(vit, images.float(), TARGETS)
    half = AttnLRP(of)(vit.bfloat16(), images.bfloat16(), TARGETS)
    for maps in (mixed, half):
        assert maps.dtype == torch.float32
        pair = torch.stack([maps.flatten(), expected.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.98
