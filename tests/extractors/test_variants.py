"""Every method on every variant of the poster's ViT: equal to its formula written out, or refused in a sentence."""

import re

import pytest
import torch

from salvit.extractors import METHODS, RawAttention
from salvit.vit import build_vit, has_residual
from tests.extractors import attn_lrp_reference, slow_vit
from tests.extractors import lrp_reference as slow_lrp
from tests.extractors.conftest import build_vit as randomized
from tests.registry import make, nothing_computed, why_not

VARIANTS = {
    "sincos": {"pos_embed": "sincos"},
    "integer": {"pos_embed": "integer"},
    "heads of one channel": {"embed_dim": 4, "num_heads": 4, "depth": 2},
    "no residual": {"residual": False},
    "no norm": {"norm": False},
    "neither": {"residual": False, "norm": False, "pos_embed": "sincos"},
}
TARGET = 3
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def make_variant(options):
    """A variant on 32×48 pixels, 4×6 patches, without anything that leaves its attention uniform."""
    return randomized(kind=build_vit, **{"img_size": (32, 48), "embed_dim": 12, **options})


@pytest.fixture
def image():
    return torch.randn(3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


class Traced:
    """A model run by hand on one image, and the gradient of the target's logit to all that the formulas name."""

    def __init__(self, vit, image):
        self.vit, self.kept = vit, float(has_residual(vit.blocks[0]))
        self.image = image.clone().requires_grad_()
        with torch.enable_grad():
            self.trace = slow_vit.run(vit, self.image)
            logit = self.trace.logits[TARGET]
            gradients = slow_vit.gradients(logit, self.trace)
            self.of_image = torch.autograd.grad(logit, self.image, retain_graph=True)[0]
            self.of_tokens = torch.autograd.grad(logit, self.trace.normed[-1], retain_graph=True)[0]
            self.of_mixed = [
                torch.stack([one[0] for one in torch.autograd.grad(logit, heads, retain_graph=True)])
                for heads in self.trace.mixed
            ]
        self.attention = [torch.stack(heads).detach() for heads in self.trace.attention]
        self.gradients = [torch.stack(heads) for heads in gradients]
        self.eye = torch.eye(len(self.trace.inputs[0]), dtype=torch.float64)
        self.weights = dict(vit.state_dict())

    def added(self, index):
        """What each head adds of each token, [heads, N, D]."""
        projection = self.weights[f"blocks.{index}.attn.proj.weight"]
        parts = projection.chunk(len(self.trace.values[index]), dim=1)
        pairs = zip(self.trace.values[index], parts, strict=True)
        return torch.stack([values @ part.T for values, part in pairs]).detach()

    def positive(self):
        """(∂y/∂A ⊙ A)⁺ of each block."""
        return [(a * g).clamp(min=0) for a, g in zip(self.attention, self.gradients, strict=True)]


def raw_attention(one):
    return one.attention[-1].mean(0)


def rollout(one):
    product = one.eye
    for attention in one.attention:
        step = attention.mean(0) + one.kept * one.eye
        product = step / step.sum(1, keepdim=True) @ product
    return product


def norm_rollout(one):
    product = one.eye
    for index, attention in enumerate(one.attention):
        vectors = torch.einsum("hij,hjd->ijd", attention, one.added(index))
        own = torch.diag_embed(one.trace.inputs[index].detach().T).movedim(0, -1)
        lengths = (vectors + one.kept * own).norm(dim=-1)
        product = lengths / lengths.sum(1, keepdim=True) @ product
    return product


def attention_gradient(one):
    return one.positive()[-1].sum(0)


def generic_attention(one):
    product = one.eye
    for factor in one.positive():
        product = (one.kept * one.eye + factor.mean(0)) @ product
    return product - one.kept * one.eye


def attn_gradcam(one):
    weights = one.gradients[-1][:, :1, 1:].mean(dim=2, keepdim=True)
    return (one.attention[-1] * weights).mean(0).clamp(min=0)


def token_gradcam(one):
    row = (one.trace.normed[-1].detach() @ one.of_tokens[1:].mean(0)).clamp(min=0)
    return row.expand(len(row), -1)


def of_last_tokens(weigh):
    """The map of the features F and gradients g of the tokens that enter the last block's attention."""

    def formula(one):
        row = weigh(one.trace.normed[-1].detach(), one.of_tokens).sum(1).clamp(min=0)
        return row.expand(len(row), -1)

    return formula


def plus_plus(features, gradients):
    shares = 1 / (2 + gradients[1:] * features[1:].sum(0))
    return features * (shares * gradients[1:].relu()).sum(0)


def daam(one):
    row = 0
    for index, attention in enumerate(one.attention):
        values = torch.stack(one.trace.values[index]).detach()
        of_mixed = one.of_mixed[index].relu()
        row = row + torch.einsum("hn,hnd,hd->n", attention[:, 0], values, of_mixed).relu()
    return row.expand(len(row), -1)


def legrad(one):
    total = 0 * one.eye
    with torch.enable_grad():
        for heads, output in zip(one.trace.attention, one.trace.outputs, strict=True):
            score = slow_vit.classify(one.vit, output.mean(0))[TARGET]
            gradients = torch.stack(torch.autograd.grad(score, heads, retain_graph=True))
            total = total + gradients.clamp(min=0).mean(dim=(0, 1))
    return total


def tokentm(one):
    def weight(before, after):
        share = torch.softmax(torch.cosine_similarity(before, after, dim=-1), dim=-1)
        return after.norm(dim=-1) / before.norm(dim=-1) * share

    entering = one.trace.inputs[0].detach()
    product = torch.diag(entering.norm(dim=1))
    for index, factor in enumerate(one.positive()):
        before, between, after = (
            part[index].detach() for part in (one.trace.inputs, one.trace.between, one.trace.outputs)
        )
        weighted = factor * weight(before.expand(len(factor), -1, -1), one.added(index))[:, None]
        product = (one.kept * one.eye + weighted.mean(0)) @ product
        mlp = weight(between, after - one.kept * between)
        product = (one.kept * one.eye + torch.diag(mlp)) @ product
    return product


FORMULAS = {
    formula.__name__: formula
    for formula in (
        raw_attention,
        rollout,
        norm_rollout,
        attention_gradient,
        generic_attention,
        attn_gradcam,
        token_gradcam,
        daam,
        legrad,
        tokentm,
    )
}
FORMULAS |= {
    "hirescam": of_last_tokens(lambda features, gradients: features * gradients),
    "layercam": of_last_tokens(lambda features, gradients: features * gradients.relu()),
    "gradcam_plus_plus": of_last_tokens(plus_plus),
}
PIXELS = {
    "input_gradient": lambda one: one.of_image.abs().amax(0),
    "input_x_gradient": lambda one: (one.image * one.of_image).sum(0).detach(),
}
LRP = {"relevance_lrp": {"start_layer": 0}, "partial_lrp": {}, "full_lrp": {}, "attn_lrp": {}}
OF_ATTENTION = {
    "salient_attention",
    "unsupervised_map",
    "attention_flow",
}  # computed from attention alone, which is tested here
OF_ALTERED = {
    "integrated_gradients",
    "smoothgrad",
    "xrai",
}  # means of the pixels' gradient, which is tested here
OF_LOGITS = {"rise", "scorecam"}  # from logits of altered images; these are tested here
OF_KEYS = {"lost", "tokencut"}
OF_NOTHING = {"center_prior", "random"}


def test_every_method_is_in_one_of_these_tests():
    tested = {
        *FORMULAS,
        *PIXELS,
        *LRP,
        *OF_ATTENTION,
        *OF_ALTERED,
        *OF_LOGITS,
        *OF_KEYS,
        *OF_NOTHING,
        "agcam",
    }
    assert tested == set(METHODS)


@every_variant
def test_logits_and_attention_of_all_blocks(options, image):
    vit = make_variant(options)
    one = Traced(vit, image)
    torch.testing.assert_close(vit(image[None])[0], one.trace.logits.detach())
    maps = RawAttention("all", per_head=True)(vit, image[None])
    torch.testing.assert_close(maps[0].flatten(1), torch.cat(one.attention)[:, 0, 1:])
    assert float(maps.std()) > 0.005, "uniform attention shows nothing"


@every_variant
@pytest.mark.parametrize("name", FORMULAS)
def test_methods_equal_their_formulas(options, image, name):
    vit = make_variant(options)
    expected = FORMULAS[name](Traced(vit, image))[0, 1:].reshape(4, 6)
    maps = METHODS[name]()(vit, image[None], TARGET)
    torch.testing.assert_close(maps[0, 0], expected, rtol=1e-8, atol=1e-12)


@every_variant
@pytest.mark.parametrize("name", PIXELS)
def test_gradients_of_pixels(options, image, name):
    vit = make_variant(options)
    maps = METHODS[name]()(vit, image[None], TARGET)
    torch.testing.assert_close(maps[0, 0], PIXELS[name](Traced(vit, image)), rtol=1e-8, atol=1e-12)


class WithoutResidual(slow_lrp.Reference):
    """The LRP reference of blocks that add nothing."""

    def _block(self, x, name):
        act = {"x": x}
        act["n1"] = self._norm(x, name + "norm1")
        act["o"] = self._attend(act, self._linear(act["n1"], name + "attn.qkv"), name + "attn.")
        act["mid"] = self._linear(act["o"], name + "attn.proj")
        act["n2"] = self._norm(act["mid"], name + "norm2")
        act["h"] = self._hidden(act, name + "mlp.")
        return self._linear(act["h"], name + "mlp.fc2"), act

    def _relevance_of_block(self, act, name, relevance):
        relevance = self.linear(act["h"], name + "mlp.fc2", relevance)
        relevance = self._before_hidden(act, name + "mlp.", relevance)
        relevance = self._before_attention(act, self.linear(act["o"], name + "attn.proj", relevance))
        return self.linear(act["n1"], name + "attn.qkv", relevance)


def slow_map(name, vit, image):
    if name == "attn_lrp":
        slow = attn_lrp_reference.Slow(vit, image)
        slow.explain(TARGET)
        return slow.patches.reshape(1, 4, 6)
    if has_residual(vit.blocks[0]):
        return getattr(slow_lrp, name)(vit, image, TARGET, **LRP[name])
    if name != "relevance_lrp":
        return getattr(slow_lrp, name)(vit, image, TARGET, kind=WithoutResidual)
    reference = WithoutResidual(vit, image, "transformer")
    reference.explain(TARGET)
    product = torch.eye(25, dtype=torch.float64)
    for act in reference.acts:
        product = (act["grad_A"] * act["R_A"]).clamp(min=0).mean(0).detach() @ product
    return slow_lrp.read(reference, product[None])


@every_variant
@pytest.mark.parametrize("name", LRP)
def test_lrp_equals_its_slow_reference(options, image, name):
    vit = make_variant(options)
    expected = slow_map(name, vit, image)
    maps = METHODS[name](**LRP[name])(vit, image[None], TARGET)[0]
    assert expected.abs().max() > 0
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-7 * float(expected.abs().max()))


@every_variant
def test_agcam_needs_residual_connections(options, image):
    vit, agcam = make_variant(options), METHODS["agcam"]()
    if has_residual(vit.blocks[0]):
        assert agcam(vit, image[None], TARGET).any()
        return
    with nothing_computed(), pytest.raises(ValueError, match=r"has no residual connections$") as refusal:
        agcam(vit, image[None], TARGET)
    assert not re.search(r"[.!?]\s", str(refusal.value))


@every_variant
@pytest.mark.parametrize("name", METHODS)
def test_maps_are_finite_and_do_not_depend_on_the_batch(options, image, name):
    vit, extractor = make_variant(options), make(name)
    if why_not(extractor, vit):
        assert name == "agcam"
        return
    images = torch.stack([image, -image])
    maps = extractor(vit, images, TARGET)
    assert maps.isfinite().all()
    if name != "salient_attention":  # whose fit may end elsewhere after rounding
        singles = torch.cat([extractor(vit, images[i : i + 1], TARGET) for i in range(2)])
        torch.testing.assert_close(maps, singles, rtol=0, atol=1e-7 * float(maps.abs().max()) + 1e-300)
