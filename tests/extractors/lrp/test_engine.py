"""Relevance through models of any make: against slow references, equivalent models, rules by hand, conservation."""

from functools import partial

import numpy as np
import pytest
import timm
import torch
from timm.layers import GluMlp, SwiGLU
from timm.models.eva import Eva
from timm.models.vision_transformer import (
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)
from timm.models.vision_transformer_relpos import VisionTransformerRelPos

from salvit.extractors.gradient import GenericAttention
from salvit.extractors.lrp import engine
from salvit.extractors.lrp.methods import FullLRP, PartialLRP, RelevanceLRP
from salvit.extractors.lrp.rules import ORIGINAL, TRANSFORMER
from tests.extractors import lrp_reference as slow
from tests.extractors.conftest import spread
from tests.extractors.lrp.other_makes import OfEva, OfRelativePositions, WithParallelMlp, WithPostNorm
from tests.extractors.lrp.test_methods import build, close

SIZE = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
RELATIVE = {"class_token": True, "global_pool": "token", "rel_pos_type": "bias"}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def copied(vit):
    """The model with the weights of a VisionTransformer; what that has not is zero, so that both compute the same."""
    source = build(**SIZE)
    state = source.state_dict()
    vit = vit.double().requires_grad_(False).eval()
    for name, parameter in vit.state_dict().items():
        parameter.copy_(state[name]) if name in state else parameter.zero_()
    return vit, source


def eva(fused):
    vit = Eva(**SIZE, use_rot_pos_emb=False, use_abs_pos_emb=True, qkv_fused=fused, global_pool="token")
    vit, source = copied(vit)
    for block, twin in zip(vit.blocks, source.blocks, strict=True):
        twin.attn.qkv.bias.zero_()  # Eva has one for queries and one for values
        if not fused:
            layers = (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj)
            for layer, part in zip(layers, twin.attn.qkv.weight.chunk(3), strict=True):
                layer.weight.copy_(part)
    return vit, source


def relpos():
    vit, source = copied(VisionTransformerRelPos(**SIZE, **RELATIVE, fc_norm=False))
    source.pos_embed.zero_()
    for block in vit.blocks:
        block.ls1.gamma.fill_(1)
        block.ls2.gamma.fill_(1)
    return vit, source


@pytest.mark.parametrize("make", [partial(eva, True), partial(eva, False), relpos])
def test_a_model_of_another_make_that_computes_the_same_has_the_same_maps(images, make):
    vit, source = make()
    torch.testing.assert_close(vit(images), source(images), rtol=1e-9, atol=1e-9)
    for extractor in (RelevanceLRP(0), RelevanceLRP(per_head=True), PartialLRP(per_head=True)):
        close(extractor(vit, images, 2), extractor(source, images, 2), relative=1e-7)


GATED = {"use_rot_pos_emb": True, "swiglu_mlp": True, "scale_mlp": True}
SPELLED_OUT = {
    "rotated, gated": (OfEva, Eva, {**GATED, "mlp_ratio": 2, "init_values": 0.5, "global_pool": "token"}),
    "rotated, gated, tokens' mean": (OfEva, Eva, {**GATED, "num_reg_tokens": 2}),
    "position bias": (OfRelativePositions, VisionTransformerRelPos, {**RELATIVE, "init_values": 0.5}),
    "post-norm": (WithPostNorm, VisionTransformer, {"block_fn": ResPostBlock}),
    "MLP beside attention": (
        WithParallelMlp,
        VisionTransformer,
        {"block_fn": ParallelScalingBlock, "qk_norm": True},
    ),
}


@pytest.mark.parametrize(("kind", "make", "options"), SPELLED_OUT.values(), ids=SPELLED_OUT)
def test_it_agrees_with_a_slow_reference_of_the_model(images, kind, make, options):
    vit, targets = spread(make(**SIZE, **options)), (1, 4, 0)
    logits = torch.stack([kind(vit, image, "original").logits.detach() for image in images])
    torch.testing.assert_close(logits, vit(images), rtol=1e-9, atol=1e-9)
    for extractor, reference, options in (
        (RelevanceLRP(0), slow.relevance_lrp, {"start_layer": 0}),
        (RelevanceLRP(per_head=True), slow.relevance_lrp, {"start_layer": 1, "per_head": True}),
        (PartialLRP(per_head=True), slow.partial_lrp, {"per_head": True}),
        (FullLRP(), slow.full_lrp, {}),
    ):
        expected = [
            reference(vit, image, target, kind=kind, **options)
            for image, target in zip(images, targets, strict=True)
        ]
        close(extractor(vit, images, torch.tensor(targets)), torch.stack(expected), relative=1e-7)


PARTS = {
    "gated MLP, one layer": {"mlp_layer": GluMlp},
    "gated MLP, two layers": {"mlp_layer": SwiGLU},
    "post-norm": {"block_fn": ResPostBlock},
    "MLP beside attention": {"block_fn": ParallelScalingBlock, "qk_norm": True},
    "attentions side by side": {"block_fn": ParallelThingsBlock, "init_values": 0.5},
}


def relevance(function, x, share, rules=ORIGINAL):
    """What the rule of a single function of tokens gives them; `share` says what its output has."""
    tape = engine._Tape(rules, x.dtype, gradients=False)
    with torch.no_grad(), tape:
        output = function(tape.begin(x))
    for _ in tape.sweep(output, share(output.detach())):
        pass
    return tape.beginning


def test_a_rotation_shares_relevance_as_the_linear_layer_that_it_is():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, generator=generator)
    angle = torch.randn(3, 2, dtype=torch.float64, generator=generator).repeat_interleave(2, -1)

    def rotate(x):
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
        return x * angle.cos() + turned * angle.sin()

    found = relevance(rotate, x, torch.ones_like, TRANSFORMER)
    expected = torch.zeros_like(x)
    turned = [rotate(one.expand(1, 1, 3, 4))[0, 0] for one in torch.eye(4, dtype=torch.float64)]
    for head in range(2):
        for token in range(3):
            matrix, vector = torch.stack([one[token] for one in turned]), x[0, head, token]
            expected[0, head, token] = vector * (matrix @ (1 / (vector @ matrix)))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_two_factors_take_half_each_and_a_constant_factor_nothing():
    x = torch.tensor([[1.0, -2.0, 0.0]])
    both = relevance(lambda x: x * (3 * x), x, torch.ones_like)
    torch.testing.assert_close(both, torch.tensor([[1.0, 1.0, 0.0]]))
    torch.testing.assert_close(relevance(lambda x: -x / 4, x, torch.ones_like), torch.ones(1, 3))


def test_a_constant_of_every_token_takes_its_share_and_a_bias_none():
    x, positions = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, -1.0]]])
    shared = relevance(lambda x: x + positions, x, torch.ones_like)
    torch.testing.assert_close(shared, torch.tensor([[[0.25, 2.0]]]))
    biased = relevance(lambda x: x + positions[0, 0], x, torch.ones_like)
    torch.testing.assert_close(biased, torch.ones(1, 1, 2))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("pool", [torch.sum, torch.mean, torch.Tensor.mean])
def test_sums_and_means_share_in_proportion(pool, keepdim):
    x = torch.tensor([[[1.0], [3.0]]])
    found = relevance(lambda x: pool(x, dim=1, keepdim=keepdim), x, torch.ones_like)
    torch.testing.assert_close(found, torch.tensor([[[0.25], [0.75]]]))


def test_tokens_that_do_not_reach_the_logits_are_noticed(images):
    vit = spread(VisionTransformer(**SIZE))
    vit.head.forward = lambda x: torch.ones(len(x), 5, dtype=x.dtype)
    with pytest.raises(ValueError, match="cannot follow tokens to the logits"):
        FullLRP()(vit, images)


@pytest.mark.parametrize("extractor", [RelevanceLRP(0), GenericAttention(rows="all")], ids=repr)
def test_maps_of_averaged_tokens_keep_their_digits_in_float32(extractor):
    """Of weights as timm draws them factors are so small that one added to them would leave nothing of them."""
    torch.manual_seed(0)
    vit = timm.create_model("eva02_tiny_patch14_224", img_size=56, depth=2, num_classes=5).eval()
    images = torch.randn(2, 3, 56, 56)
    found, exact = extractor(vit, images, 1), extractor(vit.double(), images.double(), 1)
    for one, other in zip(found, exact, strict=True):
        assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > 0.999
        assert one.std() > 0.01 * one.mean()


@pytest.mark.parametrize("options", PARTS.values(), ids=PARTS)
def test_relevance_is_conserved(images, options):
    vit = spread(VisionTransformer(**SIZE, **options))
    tape = engine._Tape(TRANSFORMER, torch.float64, gradients=False)
    vit.blocks[0].register_forward_pre_hook(lambda module, args: (tape.begin(args[0]), *args[1:]))
    with torch.no_grad():
        found = list(tape.explain(tape.run(vit, images), None))
    torch.testing.assert_close(tape.beginning.sum((1, 2)), torch.ones(3).double(), rtol=1e-5, atol=0)
    heads = 6 if options.get("block_fn") is ParallelThingsBlock else 3
    assert [flow.relevance.shape[1] for flow in found] == [heads, heads]


def test_a_position_bias_takes_its_share_of_a_score():
    """Of one score 2·3·scale + bias, only the part of the product goes on to query and key."""
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    key = value = 3 * one
    attend = torch.nn.functional.scaled_dot_product_attention
    # R_A is half the output's 1, of which the product's share is 6/10, half of which is the query's.
    found = relevance(
        lambda query: attend(query + 0, key, value, attn_mask=4 * one), 2 * one, torch.ones_like
    )
    assert float(found) == pytest.approx(0.5 * 0.6 / 2)


def test_attention_pooling_reads_every_row(images):
    vit = spread(VisionTransformer(**SIZE, class_token=False, global_pool="map"))
    maps = FullLRP()(vit, images, 1), RelevanceLRP()(vit, images, 1)
    vit.attn_pool.latent.mul_(-1)
    others = FullLRP()(vit, images, 1), RelevanceLRP()(vit, images, 1)
    assert maps[1].shape == (3, 1, 4, 6)
    assert not any(torch.allclose(one, other, rtol=1e-2) for one, other in zip(maps, others, strict=True))


def doubled(x):
    x[:, 0] = 2 * x[:, 0]
    return x


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.Tensor.sin, "torch.Tensor.sin"),
        (lambda x: torch.var_mean(x, -1, keepdim=True)[0] * x, "torch.var_mean"),
        (doubled, "torch.Tensor.__setitem__"),
    ],
)
def test_what_has_no_rule_is_named(images, function, name):
    vit = spread(VisionTransformer(**SIZE))
    mlp = vit.blocks[1].mlp.forward
    vit.blocks[1].mlp.forward = lambda x: function(mlp(x))
    with pytest.raises(ValueError, match=f"no relevance rule for {name}"):
        RelevanceLRP()(vit, images)


def test_a_summand_of_every_token_takes_the_sum_of_its_shares():
    x = torch.tensor([[[1.0], [3.0]]])
    # Of 1 + 1 the first token has both parts; of 3 + 1 it has the quarter, the second token the rest.
    found = relevance(lambda x: x + x[:, :1], x, torch.ones_like)
    torch.testing.assert_close(found, torch.tensor([[[1.25], [0.75]]]))
