"""Models that are timm's but for something of their own, against explicit ones of the same weights."""

import functools
import gc
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from timm.layers import Attention, GlobalResponseNormMlp, LayerScale, Mlp, SwiGLU
from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg
from timm.models.vision_transformer import Block, VisionTransformer
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils.parametrizations import weight_norm

from salvit.extractors import (
    METHODS,
    AttentionGradient,
    FullLRP,
    GenericAttention,
    NormRollout,
    PartialLRP,
    RawAttention,
    RelevanceLRP,
    TokenTM,
)
from salvit.lrp.support import is_standard
from salvit.recording import record
from salvit.vit.tokenwise import tokens_meet_in_attention_alone
from tests.extractors.conftest import build_vit
from tests.registry import ARCHITECTURES, small_vit

GRADIENTS = ["agcam", "attention_gradient", "attn_gradcam", "full_lrp", "generic_attention", "input_gradient"]
GRADIENTS += ["input_x_gradient", "legrad", "relevance_lrp", "token_gradcam", "tokentm"]
USING_FUSED = ["agcam", "attention_gradient", "attn_gradcam", "full_lrp", "generic_attention", "norm_rollout"]
USING_FUSED += ["partial_lrp", "relevance_lrp", "tokentm"]


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Own(Attention):
    """Also adds each token's value, which others mix, and lets its query say how much of it all."""

    def forward(self, x, **_):
        query, key, value = self.parts(x)
        return self.joined((F.scaled_dot_product_attention(query, key, value) + value) * query.sigmoid())

    def parts(self, x):
        return self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)

    def joined(self, heads):
        return self.proj(heads.transpose(1, 2).flatten(2))


class Explicit(Own):
    """Computes the same with matrices that can be looked at; `cut` says whether a gradient enters its input."""

    own, cut = True, False

    def forward(self, x, **_):
        query, key, value = self.parts(x.detach() if self.cut else x)
        self.scores = query @ key.mT / query.shape[-1] ** 0.5
        self.attention = self.scores.softmax(-1)
        if not self.attention.requires_grad:
            self.attention.requires_grad_()
        mixed = self.attention @ value
        return self.joined((mixed + value) * query.sigmoid() if self.own else mixed)


class Context(Mlp):
    """Adds the mean over all tokens to each."""

    def forward(self, x):
        x = super().forward(x)
        return x + x.mean(1, keepdim=True)


class MeanToo(VisionTransformer):
    def pool(self, x, pool_type=None):
        return x[:, 0] + x[:, 1:].mean(1)


class Turned(VisionTransformer):
    def forward(self, x):
        return super().forward(x).flip(-1)


def centred(module, args, output):
    return output - output.mean(1, keepdim=True)


def hooked(where):
    def alter(vit):
        vit.get_submodule(where).register_forward_hook(centred)

    return alter


def become(kind):
    def alter(vit):
        vit.__class__ = kind

    return alter


def with_another_head(vit):
    vit.forward_head = lambda tokens: vit.head(tokens[:, 0] + tokens[:, 1:].mean(1))


ALTERATIONS = {
    "attention": ({"attn_layer": Own}, lambda vit: None),
    "mlp": ({"mlp_layer": Context}, lambda vit: None),
    "hook on an attention": ({}, hooked("blocks.2.attn")),
    "hook on a block": ({}, hooked("blocks.1")),
    "hook on the norm": ({}, hooked("norm")),
    "pool": ({}, become(MeanToo)),
    "forward": ({}, become(Turned)),
    "forward_head": ({}, with_another_head),
}


def reference(options, alter, images, classes):
    """What the methods are to give, [B, patches] each, from one backward pass through the explicit model."""
    explicit = build_vit(**{**options, "attn_layer": Explicit})
    alter(explicit)
    attentions = [block.attn for block in explicit.blocks]

    def gradients(cut):
        for attention in attentions:
            attention.own, attention.cut = "attn_layer" in options, cut
        with torch.enable_grad():
            logits = explicit(images)
            chosen = logits[torch.arange(len(images)), classes].sum()
            return torch.autograd.grad(chosen, [attention.attention for attention in attentions])

    cut = gradients(cut=True)
    guided = [
        (attention.scores.sigmoid() * gradient.clamp(min=0)).sum(1)
        for attention, gradient in zip(attentions, cut, strict=True)
    ]
    agcam = sum(guided)[:, 0, 1:]
    whole = gradients(cut=False)
    factors = [(a.attention * gradient).clamp(min=0) for a, gradient in zip(attentions, whole, strict=True)]
    last, gradient = attentions[-1].attention, whole[-1]
    gradcam = (last[:, :, 0] * gradient[:, :, 0, 1:].mean(-1)[..., None]).mean(1).clamp(min=0)[:, 1:]
    relevance = torch.eye(last.shape[-1], dtype=last.dtype).expand(len(images), -1, -1)
    for factor in factors:
        relevance = relevance + factor.mean(1) @ relevance
    return SimpleNamespace(
        agcam=agcam.detach(),
        attention_gradient=factors[-1].sum(1)[:, 0, 1:].detach(),
        rows=factors[-1].sum(1)[:, 1:, 1:].mean(1).detach(),
        attn_gradcam=gradcam.detach(),
        generic_attention=relevance[:, 0, 1:].detach(),
    )


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_a_model_adds_of_its_own_is_explained(images, name):
    options, alter = ALTERATIONS[name]
    classes = torch.tensor([1, 4, 0])
    vit = build_vit(**options)
    alter(vit)
    assert not tokens_meet_in_attention_alone(vit)
    expected = reference(options, alter, images, classes)
    for method in ("agcam", "attention_gradient", "attn_gradcam", "generic_attention"):
        found = METHODS[method]()(vit, images, classes)
        torch.testing.assert_close(found.flatten(1), getattr(expected, method), rtol=1e-8, atol=1e-12)
    found = AttentionGradient(rows="all")(vit, images, classes)
    torch.testing.assert_close(found.flatten(1), expected.rows, rtol=1e-8, atol=1e-12)


def test_the_reference_is_right_where_nothing_is_altered(images):
    """Where the class token goes alone, the same numbers."""
    vit, classes = build_vit(), torch.tensor([1, 4, 0])
    assert tokens_meet_in_attention_alone(vit)
    expected = reference({}, lambda vit: None, images, classes)
    for method in ("agcam", "attention_gradient", "attn_gradcam", "generic_attention"):
        found = METHODS[method]()(vit, images, classes)
        torch.testing.assert_close(found.flatten(1), getattr(expected, method), rtol=1e-8, atol=1e-12)
    assert GenericAttention(rows="all")(vit, images, classes).std() > 0


@pytest.mark.parametrize(
    "architecture", ["vit_tiny_patch16_224", "beit_base_patch16_224", "vit_base_patch16_xp_224"]
)
def test_hooks_that_only_look_see_all_tokens_and_change_nothing(architecture):
    vit = small_vit(architecture).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    seen = []
    methods = ["agcam", "attn_gradcam", "attention_gradient", "generic_attention"]
    methods = [name for name in methods if vit.global_pool == "token"]
    expected = [METHODS[name]()(vit, images, 1) for name in methods]
    vit.blocks[-1].register_forward_hook(lambda module, args, output: seen.append(output.shape[1]))
    for name, maps in zip(methods, expected, strict=True):
        torch.testing.assert_close(METHODS[name]()(vit, images, 1), maps, rtol=1e-8, atol=1e-12)
    assert set(seen) <= {17}


def test_every_model_of_timm_that_reads_a_class_token_takes_the_short_way():
    """But for those whose blocks are of a kind that is not known to send tokens their own way."""
    families = [
        a for a in ARCHITECTURES if a.startswith(("deit", "vit_small", "vit_base", "beit_b", "eva02_t"))
    ]
    assert [a for a in families if not tokens_meet_in_attention_alone(small_vit(a))] == []


def test_parts_of_timms_in_which_tokens_meet():
    across = build_vit(mlp_layer=lambda norm_layer, bias, **options: GlobalResponseNormMlp(**options))
    assert not tokens_meet_in_attention_alone(across)
    config = NaFlexVitCfg(
        patch_size=8, embed_dim=24, depth=1, num_heads=3, class_token=True, global_pool="token"
    )
    assert tokens_meet_in_attention_alone(NaFlexVit(config).eval())
    gated = NaFlexVit(replace(config, attn_gated=True)).eval()
    assert not tokens_meet_in_attention_alone(gated)


def test_hooks_of_all_modules():
    vit = build_vit()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    try:
        assert not tokens_meet_in_attention_alone(vit)
    finally:
        handle.remove()
    assert tokens_meet_in_attention_alone(vit)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", GRADIENTS)
def test_quantised_layers_have_no_gradients(name):
    pytest.importorskip("torch.ao.quantization")
    vit, images = build_vit().float(), torch.randn(1, 3, 32, 32)
    layers = {
        f"blocks.{index}.mlp.{layer}": torch.ao.quantization.default_dynamic_qconfig
        for index in range(3)
        for layer in ("fc1", "fc2")
    }
    quantised = torch.ao.quantization.quantize_dynamic(vit, layers, dtype=torch.qint8).eval()
    with pytest.raises(ValueError, match=r"quantised layers, such as blocks\.0\.mlp\.fc1"):
        METHODS[name]()(quantised, images, 1)
    assert METHODS["rollout"]()(quantised, images).isfinite().all()


class Adapter(torch.nn.Module):
    """As adapters wrap a layer: its own weight, and what is added to what it gives."""

    def __init__(self, layer, has_weight):
        super().__init__()
        self.layer, self.update = layer, torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
        if has_weight:
            type(self).weight = property(lambda self: self.layer.weight)

    def forward(self, x):
        return self.layer(x) + self.update(x)


@pytest.mark.parametrize("name", ["norm_rollout", "tokentm"])
@pytest.mark.parametrize("has_weight", [False, True])
def test_the_layer_behind_attention_must_be_what_it_is_taken_for(images, name, has_weight):
    vit = build_vit()
    kind = type("Adapter", (Adapter,), {})
    vit.blocks[1].attn.proj = kind(vit.blocks[1].attn.proj, has_weight).double().eval()
    with pytest.raises(
        ValueError, match=r"block 1 .* another layer than a linear one behind its attention, Adapter"
    ):
        METHODS[name]()(vit, images, 1)
    own = build_vit(attn_layer=Own)
    with pytest.raises(ValueError, match="attention that is not timm's, Own"):
        METHODS[name]()(own, images, 1)
    normed = build_vit()
    expected = METHODS[name]()(normed, images, 1)
    for block in normed.blocks:
        weight_norm(block.attn.proj)
    torch.testing.assert_close(METHODS[name]()(normed.eval(), images, 1), expected, rtol=1e-8, atol=1e-12)


def tie_weights(vit):
    for block in vit.blocks:
        block.mlp.fc1.weight = block.attn.qkv.weight


def tie_layers(vit):
    for block in vit.blocks:
        block.mlp.fc1 = block.attn.qkv


@pytest.mark.parametrize("name", ["agcam", "attention_gradient", "attn_gradcam", "generic_attention"])
@pytest.mark.parametrize("tie", [tie_weights, tie_layers])
def test_what_is_left_out_of_attention_is_not_left_out_where_it_is_used_too(images, name, tie):
    vit, untied = build_vit(mlp_ratio=3), build_vit(mlp_ratio=3)
    tie(vit)
    untied.load_state_dict(vit.state_dict())
    torch.testing.assert_close(vit(images), untied(images))
    expected = METHODS[name]()(untied, images, 1)
    torch.testing.assert_close(METHODS[name]()(vit, images, 1), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["raw_attention", "attention_gradient", "token_gradcam", "scorecam"])
def test_blocks_that_share_their_attention_are_refused(images, name):
    vit = build_vit()
    vit.blocks[2].attn = vit.blocks[0].attn
    with pytest.raises(ValueError, match="blocks of this VisionTransformer are, or share, one and the same"):
        METHODS[name]()(vit, images)
    if name in ("token_gradcam", "scorecam"):  # ask about one block alone
        assert METHODS[name](block=1)(vit, images).isfinite().all()


@pytest.mark.parametrize("name", ["norm_rollout", "tokentm"])
@pytest.mark.parametrize(
    "part", ["attn", "attn.attn_drop", "attn.proj", "attn.proj_drop", "ls1", "drop_path1"]
)
def test_what_attention_adds_must_not_be_changed_on_its_way(images, name, part):
    vit = build_vit(init_values=0.5)
    handle = vit.blocks[1].get_submodule(part).register_forward_hook(centred)
    with pytest.raises(ValueError, match=r"block 1 .* a hook on its attention or on a layer behind it"):
        METHODS[name]()(vit, images, 1)
    handle.remove()
    expected = METHODS[name]()(vit, images, 1)
    with record(vit):  # changes nothing
        torch.testing.assert_close(METHODS[name]()(vit, images, 1), expected)


@pytest.mark.parametrize("name", ["agcam", "attention_gradient", "attn_gradcam", "generic_attention"])
def test_adapters_are_explained_as_the_weights_they_add_up_to(images, name):
    vit, merged = build_vit(), build_vit()
    for block, other in zip(vit.blocks, merged.blocks, strict=True):
        torch.manual_seed(0)
        block.attn.qkv = Adapter(block.attn.qkv, has_weight=False).double().eval()
        other.attn.qkv.weight += block.attn.qkv.update.weight.detach()
    maps, expected = (METHODS[name]()(model.requires_grad_(False), images, 1) for model in (vit, merged))
    torch.testing.assert_close(maps, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name]().reads_attention])
def test_a_scale_of_its_own_that_fused_attention_would_not_ask_for(images, name):
    vit, doubled = build_vit(depth=2).double(), build_vit(depth=2).double()
    for block in vit.blocks:
        block.attn.fused_attn = False
        block.attn.scale *= 2
    for block in doubled.blocks:
        block.attn.qkv.weight.data[: vit.embed_dim] *= 2
        block.attn.qkv.bias.data[: vit.embed_dim] *= 2
    torch.testing.assert_close(vit(images), doubled(images))
    method = METHODS[name](**({"k": 4} if name == "salient_attention" else {}))
    if name in USING_FUSED:
        with pytest.raises(ValueError, match="scale of its own"):
            method(vit, images, target=1)
    else:
        torch.testing.assert_close(method(vit, images, target=1), method(doubled, images, target=1))


@pytest.mark.parametrize("name", USING_FUSED)
def test_heads_ablated_behind_an_open_softmax_are_not_forgotten(images, name):
    vit = build_vit(depth=2)
    mask = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)[:, None, None]
    for block in vit.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, args, attention: attention * mask)
    if name not in ("attention_gradient", "generic_attention"):
        with pytest.raises(ValueError, match="hook"):
            METHODS[name]()(vit, images, target=1)
        return
    # These two then take a whole pass, as it is. Behind the attention, a mask in the weights gives the same logits.
    ablated = build_vit(depth=2)
    for block in ablated.blocks:
        block.attn.proj.weight *= mask.flatten().repeat_interleave(8)
    torch.testing.assert_close(
        METHODS[name]()(vit, images, target=1), METHODS[name]()(ablated, images, target=1)
    )


class Scale(torch.nn.Module):
    def forward(self, x):
        return x * 0.3


SLOTS = ["patch_drop", "pos_drop", "head_drop", "norm_pre", "norm", "fc_norm", "blocks.1.drop_path1"]
SLOTS += [
    "blocks.1.drop_path2",
    "blocks.1.norm1",
    "blocks.1.norm2",
    "blocks.1.attn.q_norm",
    "blocks.1.attn.proj_drop",
]
SLOTS += [
    "blocks.1.attn.norm",
    "blocks.1.mlp.act",
    "blocks.1.mlp.drop1",
    "blocks.1.mlp.drop2",
    "blocks.1.mlp.norm",
    "blocks.1.ls1",
]


@pytest.mark.parametrize("slot", SLOTS)
def test_what_takes_the_place_of_a_part_is_not_taken_for_it(slot):
    vit = build_vit()
    assert is_standard(vit)
    vit.set_submodule(slot, Scale().eval())
    assert not is_standard(vit)


@pytest.mark.parametrize("slot", ["drop_path1", "attn.proj_drop"])
@pytest.mark.parametrize(
    "method", [RelevanceLRP(), PartialLRP(), FullLRP(), NormRollout(), TokenTM()], ids=repr
)
def test_a_factor_in_the_place_of_a_dropout_counts_as_in_the_weights(images, slot, method):
    vit, folded = build_vit(depth=2), build_vit(depth=2)
    for block, other in zip(vit.blocks, folded.blocks, strict=True):
        block.set_submodule(slot, Scale().eval())
        other.attn.proj.weight *= 0.3
        other.attn.proj.bias *= 0.3
    torch.testing.assert_close(vit(images), folded(images))
    if isinstance(method, NormRollout | TokenTM):
        with pytest.raises(ValueError, match="in the place of a dropout"):
            method(vit, images, 1)
    else:
        torch.testing.assert_close(method(vit, images, 1), method(folded, images, 1), rtol=1e-3, atol=1e-6)


class Twice(LayerScale):
    def forward(self, x):
        return 2 * super().forward(x)


class Fivefold(torch.nn.Identity):
    def forward(self, x):
        return 5 * x


@pytest.mark.parametrize("name", ["norm_rollout", "tokentm"])
@pytest.mark.parametrize("slot", ["ls1", "attn.norm"])
@pytest.mark.parametrize("part", [Twice(24), Fivefold()], ids=repr)
def test_what_derives_from_a_part_is_not_taken_for_it(images, name, slot, part):
    vit = build_vit()
    vit.blocks[1].set_submodule(slot, part.double().eval())
    assert not is_standard(vit)
    with pytest.raises(
        ValueError, match=r"layer scale that is not timm's|normalisation behind its attention"
    ):
        METHODS[name]()(vit, images)


def test_classes_patched_as_decorators_do(monkeypatch):
    before = Mlp.forward

    @functools.wraps(before)
    def tripled(self, x):
        return 3 * before(self, x)

    vit = build_vit()
    monkeypatch.setattr(Mlp, "forward", tripled)
    assert not is_standard(vit)
    assert not tokens_meet_in_attention_alone(vit)


@pytest.mark.parametrize("kind", [Block, Attention])
def test_classes_whose_forward_was_replaced(images, monkeypatch, kind):
    vit = build_vit()
    monkeypatch.setattr(kind, "forward", lambda self, x, **_: x)
    assert not is_standard(vit)
    assert not tokens_meet_in_attention_alone(vit)
    for name in ("norm_rollout", "tokentm"):
        with pytest.raises(ValueError, match="replaced forward"):
            METHODS[name]()(vit, images)


def test_hooks_of_all_modules_are_seen_by_every_method(images):
    vit = build_vit()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    try:
        assert not is_standard(vit)
        for name in ("norm_rollout", "tokentm"):
            with pytest.raises(ValueError, match="hooks of all modules"):
                METHODS[name]()(vit, images)
    finally:
        handle.remove()
    assert is_standard(vit)


@pytest.mark.parametrize("name", ["agcam", "generic_attention", "legrad", "token_gradcam"])
def test_wrappers_that_recompute_are_refused(images, name):
    vit = build_vit()
    vit.blocks[1] = checkpoint_wrapper(vit.blocks[1]).eval()
    with pytest.raises(ValueError, match="CheckpointWrapper"):
        METHODS[name]()(vit, images)


@pytest.mark.parametrize("method", [RelevanceLRP(), PartialLRP(), FullLRP()], ids=repr)
def test_adapters_written_as_matrix_products(images, method):
    class Products(Adapter):
        def forward(self, x):
            return self.layer(x) + x @ self.update.weight.T

    made = []
    for kind in (Adapter, Products):
        vit = build_vit(depth=2)
        for block in vit.blocks:
            torch.manual_seed(0)
            block.attn.qkv = kind(block.attn.qkv, has_weight=False).double().eval()
        made.append(method(vit.requires_grad_(False), images, 1))
    torch.testing.assert_close(*made)


@pytest.mark.parametrize(
    "method", [RawAttention(0, per_head=True), AttentionGradient(0, per_head=True)], ids=repr
)
def test_blocks_with_different_numbers_of_heads(images, method):
    vit = build_vit()
    vit.blocks[0].attn = Attention(24, num_heads=2, qkv_bias=True).double().eval().requires_grad_(False)
    assert method(vit, images, 1).shape == (3, 2, 4, 6)
    assert RawAttention("all", per_head=True)(vit, images).shape == (3, 8, 4, 6)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "mlp_layer": SwiGLU}])
@pytest.mark.parametrize("method", [FullLRP(), RelevanceLRP(precision="double")], ids=repr)
def test_nothing_of_a_copy_in_float64_is_left(images, options, method):
    vit, images = build_vit(**options).float(), images.float()
    method(vit, images, 1)
    gc.collect()
    gc.disable()
    try:
        before = doubles()
        method(vit, images, 1)
        assert doubles() == before
    finally:
        gc.enable()


def doubles():
    return sum(type(one) is torch.nn.Parameter and one.dtype == torch.float64 for one in gc.get_objects())
