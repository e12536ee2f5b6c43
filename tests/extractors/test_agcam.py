import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from salvit.extractors import AGCAM, AttentionGradCAM, GenericAttention, LeGrad
from salvit.extractors.gradients import attention_gradients, class_row_gradients
from salvit.extractors.recording import record
from salvit.vit import load_vit
from tests.extractors import slow_vit

TINY = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3, "num_classes": 5, "patch_size": 8}
FAMILIES = [
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch16_clip_224",
    "vit_base_patch16_xp_224",
    "vit_small_patch16_18x2_224",
    "vit_base_patch16_rope_mixed_ape_224",
    "vit_relpos_base_patch16_cls_224",
    "beit_base_patch16_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
]


def reference(vit, image, target):
    trace = slow_vit.run(vit, image, hold_attention=True)
    gradients = slow_vit.gradients(trace.logits[target], trace)
    total = torch.zeros(25, dtype=torch.float64)
    for scores, heads in zip(trace.scores, gradients, strict=True):
        for score, gradient in zip(scores, heads, strict=True):
            total += torch.sigmoid(score[0].detach()) * gradient[0].clamp(min=0)
    return total[1:].reshape(1, 4, 6)


def test_matches_slow_reference(make_vit, images):
    vit = make_vit(img_size=(32, 48))
    expected = torch.stack([reference(vit, *pair) for pair in zip(images, (4, 0, 2), strict=True)])
    maps = AGCAM()(vit, images, torch.tensor([4, 0, 2]))
    torch.testing.assert_close(maps, expected, rtol=1e-8, atol=1e-12)


class HoldAttention(TorchFunctionMode):
    """No gradient flows into a query, a key or a value."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            args = [arg.detach() for arg in args]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", FAMILIES)
def test_class_row_alone_equals_the_whole_graph(name):
    """On every family of blocks, the class token's own pass gives what backpropagation of all tokens gives."""
    options = {"global_pool": "token"} if name.startswith(("beit", "eva", "vit_small_patch16_dinov3")) else {}
    vit = load_vit(name, pretrained=False, **TINY, **options).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in vit.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    images = torch.randn(2, 3, 32, 32, generator=generator).double()
    found = class_row_gradients(vit, images, torch.tensor([1, 3]))
    with torch.enable_grad(), record(vit, scores=True, gradients=True) as recording, HoldAttention():
        logits = vit(images)
    expected = recording.gradients(logits[0, 1] + logits[1, 3], [0, 1])
    for block, gradient in enumerate(expected):
        assert gradient[:, :, :1].abs().max() > 1e-6
        torch.testing.assert_close(found.gradients[block], gradient[:, :, :1], rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(found.attention[block], recording.attention[block][:, :, :1].detach())
        torch.testing.assert_close(found.scores[block], recording.scores[block][:, :, :1].detach())


@pytest.mark.parametrize("method", [AGCAM, AttentionGradCAM, GenericAttention, LeGrad])
def test_models_without_the_fused_kernel(vit, images, method):
    expected = method()(vit, images)
    for block in vit.blocks:
        block.attn.fused_attn = False
    torch.testing.assert_close(method()(vit, images), expected, rtol=1e-8, atol=1e-12)
    assert not any(block.attn.fused_attn for block in vit.blocks)


@pytest.mark.parametrize(
    "options", [{"class_token": False, "global_pool": "avg"}, {"global_pool": "avg"}, {"global_pool": "map"}]
)
def test_of_pooled_tokens_it_is_the_mean_over_their_rows(make_vit, images, options):
    """Against backpropagation through an attention spelled out, whose input is held."""
    vit, kept, target = make_vit(**options), [], torch.tensor([4, 0, 2])
    prefix, samples = vit.num_prefix_tokens, torch.arange(3)
    found = AGCAM()(vit, images, target)
    for block in vit.blocks:
        block.attn.fused_attn = False
        block.attn.register_forward_pre_hook(lambda module, args: (args[0].detach(), *args[1:]))
        block.attn.attn_drop.register_forward_hook(lambda *args: kept.append(args[2].requires_grad_()))
    with torch.enable_grad(), record(vit, scores=True) as recording:
        gradients = torch.autograd.grad(vit(images)[samples, target].sum(), kept)
    guided = [
        (scores.detach().sigmoid() * gradient.clamp(min=0)).sum(1)
        for scores, gradient in zip(recording.scores.values(), gradients, strict=True)
    ]
    rows = sum(guided)[:, 0 if options["global_pool"] == "map" else prefix :].mean(1)
    torch.testing.assert_close(found, rows[:, prefix:].reshape(3, 1, 4, 6), rtol=1e-8, atol=1e-12)


def test_a_block_that_mixes_tokens_beside_attention_takes_the_whole_graph(vit, images):
    """The class token alone does not become what it is among the others."""

    mlp = vit.blocks[1].mlp.forward
    vit.blocks[1].mlp.forward = lambda x: mlp(x) - x.mean(1, keepdim=True)
    found = class_row_gradients(vit, images, torch.tensor([1, 3, 0]))
    whole = attention_gradients(vit, images, torch.tensor([1, 3, 0]), range(3), residual_only=True)
    for one, other in zip(found.gradients, whole.gradients, strict=True):
        torch.testing.assert_close(one, other[:, :, :1], rtol=1e-9, atol=1e-15)


def test_hooks_see_a_pass_of_all_tokens_once(vit, images):
    seen = []
    vit.blocks[0].mlp.register_forward_hook(lambda module, args, output: seen.append(output.shape[1]))
    AGCAM()(vit, images)
    assert seen == [25]
