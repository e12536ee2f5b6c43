import pytest
import torch
import torch.nn.functional as F
from timm.layers import set_fused_attn
from timm.models.vision_transformer import VisionTransformer

from salvit.extractors.recording import read_attention, record
from salvit.vit import load_vit, num_heads
from tests.registry import nothing_computed, randomize

TINY = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3, "num_classes": 5, "patch_size": 8}


@pytest.fixture
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    options = {**TINY, "depth": 3, "dynamic_img_size": True}
    return randomize(VisionTransformer(**options).requires_grad_(False))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name", ["vit_relpos_small_patch16_224", "beit_base_patch16_224", "vit_tiny_patch16_224"]
)
def test_models_without_the_fused_kernel(name, images):
    fused = randomize(load_vit(name, pretrained=False, **TINY))
    set_fused_attn(enable=False)
    try:
        plain = load_vit(name, pretrained=False, **TINY)
    finally:
        set_fused_attn(enable=True)
    plain.load_state_dict(fused.state_dict())
    assert not plain.blocks[0].attn.fused_attn
    expected = plain(images)
    with record(fused, scores=True) as one, record(plain, scores=True) as other:
        fused(images)
        logits = plain(images)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    for block in range(2):
        torch.testing.assert_close(one.attention[block], other.attention[block], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.scores[block], other.scores[block], rtol=1e-4, atol=1e-4)


def test_only_chosen_blocks_leave_the_fused_kernel(vit, images):
    calls = []

    class Count(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            calls.append(func is F.scaled_dot_product_attention)
            return func(*args, **(kwargs or {}))

    with Count(), record(vit, blocks=[-1, 0]) as recording:
        vit(images)
    assert sum(calls) == 1
    assert sorted(recording.attention) == [0, 2]
    assert recording.attention[-1] is recording.attention[2]


def test_scores_give_attention(vit, images):
    with record(vit, scores=True) as recording:
        vit(images)
    with record(vit, [1], rows="class", scores=True) as rows:
        vit(images)
    for block, scores in recording.scores.items():
        torch.testing.assert_close(scores.softmax(-1), recording.attention[block])
    torch.testing.assert_close(rows.scores[1], recording.scores[1][:, :, :1])
    with record(vit) as recording:
        vit(images)
    assert not recording.scores


def test_stop_ends_the_forward_pass(vit, images):
    ran = []
    for index, block in enumerate(vit.blocks):
        block.mlp.register_forward_hook(lambda *_, index=index: ran.append(index))
    with record(vit) as recording:
        vit(images)
    ran.clear()
    for attention, block in zip(read_attention(vit, images, [1, 0, -2]), [1, 0, 1], strict=True):
        torch.testing.assert_close(attention, recording.attention[block])
    assert ran == [0]


def test_maps_and_their_product_with_the_values_are_float32_under_autocast(vit, images):
    mixed = []
    vit.blocks[1].attn.proj.register_forward_pre_hook(lambda module, args: mixed.append(args[0]))
    with record(vit) as exact:
        vit(images)
    with torch.autocast("cpu", torch.bfloat16), record(vit, values=True) as recording:
        assert vit(images).dtype == torch.bfloat16
    for block, attention in recording.attention.items():
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))
        torch.testing.assert_close(attention, exact.attention[block], rtol=0, atol=0.1)
    expected = recording.attention[1] @ recording.values[1].float()
    torch.testing.assert_close(mixed[1], expected.transpose(1, 2).flatten(2).bfloat16(), rtol=0, atol=0)


@pytest.fixture
def parallel() -> VisionTransformer:
    """Two attentions side by side in each of two blocks, three heads each."""
    return randomize(load_vit("vit_small_patch16_18x2_224", pretrained=False, **TINY)).double()


@pytest.mark.parametrize("fused", [True, False])
def test_attentions_side_by_side(parallel, images, fused):
    """Each half of the heads, applied by hand to its attention's values, gives that attention's own output."""
    images = images.double()
    attentions = [branch.attn for branch in parallel.blocks[1].attns]
    seen = []
    for attention in attentions:
        attention.fused_attn = fused
        attention.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    with record(parallel, [1], scores=True, values=fused) as recording:
        parallel(images)
    maps = recording.attention[1]
    assert maps.shape == (2, num_heads(parallel), 17, 17) == (2, 6, 17, 17)
    torch.testing.assert_close(recording.scores[1].softmax(-1), maps)
    for index, (attention, (entering, output)) in enumerate(zip(attentions, seen, strict=True)):
        heads = slice(3 * index, 3 * index + 3)
        value = attention.qkv(entering).unflatten(-1, (3, 3, 16))[:, :, 2]
        mixed = torch.einsum("bhqk,bkhd->bqhd", maps[:, heads], value).flatten(2)
        torch.testing.assert_close(attention.proj(mixed), output)
        if fused:
            torch.testing.assert_close(recording.values[1][:, heads], value.transpose(1, 2))
    [rows] = read_attention(parallel, images, [-1], rows="class")
    torch.testing.assert_close(rows, maps[:, :, :1])


def test_gradients_of_attentions_side_by_side(parallel, images):
    """∂logit/∂A of the last block, head by head, against central differences of its attentions' outputs."""
    images = images.double()
    with record(parallel, gradients=True) as recording:
        logits = parallel(images)
    first, last = recording.gradients(logits[:, 2].sum(), [0, -1])
    assert first.shape == last.shape == recording.attention[-1].shape
    direction = torch.randn(last.shape, generator=torch.Generator().manual_seed(2)).double()

    class Shifted(torch.overrides.TorchFunctionMode):
        def __init__(self, step):
            super().__init__()
            self.step, self.count = step, 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            output = func(*args, **(kwargs or {}))
            if func is F.scaled_dot_product_attention:
                self.count += 1
                if self.count > 2:
                    heads = slice(3 * self.count - 9, 3 * self.count - 6)
                    output = output + self.step * direction[:, heads] @ args[2]
            return output

    def shifted(step: float) -> torch.Tensor:
        with Shifted(step), torch.no_grad():
            return parallel(images)[:, 2].sum()

    slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5
    torch.testing.assert_close((last * direction).sum(), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["vit_dwee_patch16_reg1_gap_256", "vit_dpwee_patch16_reg1_gap_256"])
def test_differential_attention_is_refused_before_anything_runs(name, images):
    vit = load_vit(name, pretrained=False, **TINY)
    with nothing_computed(), pytest.raises(ValueError, match=r"block 0 of this VisionTransformer subtracts"):
        read_attention(vit, images, [0])


def test_foreign_attention_is_refused(vit, images):
    """Attention that is not timm's has no map, and neither has a compiled one that no call is seen of."""
    del vit.blocks[1].attn.fused_attn
    with pytest.raises(ValueError, match=r"block 1 of this VisionTransformer \(Block\) has none"):
        read_attention(vit, images, [0])
    vit.blocks[1].attn.fused_attn = True
    vit.blocks[1].attn.forward = lambda x, **kwargs: x
    with pytest.raises(ValueError, match="block 1 of VisionTransformer computed 0 attention maps"):
        read_attention(vit, images, [1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vit.modules())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"blocks": [-4]}, IndexError, "no block -4: the model has 3 blocks"),
        ({"rows": "patches"}, ValueError, 'rows must be "class" or "all"'),
        ({"rows": "class", "gradients": True}, ValueError, 'gradients need rows="all"'),
    ],
)
def test_what_cannot_be_recorded(vit, options, error, message):
    with pytest.raises(error, match=message), record(vit, **options):
        pass


def test_refusals(vit, images):
    pooled = load_vit("vit_base_patch16_siglip_224", pretrained=False, **TINY)
    with pytest.raises(ValueError, match="class token"), record(pooled, rows="class"):
        pass
    with pytest.raises(ValueError, match="causal"), record(vit):
        vit(images, is_causal=True)


@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.float32])
def test_attention_masks_are_kept(vit, images, mask_dtype):
    allowed = torch.rand(17, 17, generator=torch.Generator().manual_seed(3)) > 0.5
    allowed.fill_diagonal_(True)
    mask = allowed if mask_dtype == torch.bool else torch.zeros(17, 17).masked_fill(~allowed, -torch.inf)
    expected = vit(images, attn_mask=mask)
    with record(vit) as recording:
        logits = vit(images, attn_mask=mask)
    with record(vit, rows="class") as rows:
        vit(images, attn_mask=mask)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert not recording.attention[0][:, :, ~allowed].any()
    torch.testing.assert_close(rows.attention[0], recording.attention[0][:, :, :1])


def test_blocks_that_were_not_recorded(vit, images):
    with torch.enable_grad(), record(vit, [1, 2], gradients=True) as recording:
        logits = vit(images)
    for block in (-5, 0, 3):
        with pytest.raises(KeyError, match=rf"block {block} was not recorded; recorded blocks: \[1, 2\]"):
            recording.gradients(logits.sum(), [block])
    assert [one.shape for one in recording.gradients(logits.sum(), [-1])] == [recording.attention[-1].shape]
