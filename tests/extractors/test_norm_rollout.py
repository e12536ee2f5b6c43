import pytest
import torch

from salvit.extractors import NormRollout, TokenTM
from salvit.vit import load_vit
from tests.extractors import slow_vit


def additions(vit, image):
    """Per block u [N, N, D]: what token j adds to token i, one vector at a time."""
    trace, w = slow_vit.run(vit, image), dict(vit.state_dict())
    heads, blocks = vit.blocks[0].attn.num_heads, []
    for index in range(len(vit.blocks)):
        b = {name.removeprefix(f"blocks.{index}."): value for name, value in w.items()}
        value = (trace.normed[index] @ b["attn.qkv.weight"].T + b["attn.qkv.bias"]).chunk(3, dim=1)[2]
        width, count = value.shape[1] // heads, len(value)
        entering = trace.inputs[index]
        scale = b.get("ls1.gamma", torch.ones(len(entering[0]), dtype=torch.float64))
        u = torch.zeros(count, count, value.shape[1], dtype=torch.float64)
        for i in range(count):
            for j in range(count):
                for head in range(heads):
                    part = slice(head * width, (head + 1) * width)
                    added = b["attn.proj.weight"][:, part] @ value[j, part]
                    u[i, j] += trace.attention[index][head][i, j] * added * scale
            u[i, i] += entering[i]
        blocks.append(u.detach())
    return blocks


def reference(vit, image, start, rows):
    product = None
    for u in additions(vit, image)[start:]:
        lengths = u.pow(2).sum(-1).sqrt()
        shares = lengths / lengths.sum(1, keepdim=True)
        product = shares if product is None else shares @ product
    return (product[0] if rows == "class" else product[1:].mean(0))[1:].reshape(4, 6)


@pytest.mark.parametrize(("start", "rows"), [(0, "class"), (0, "all"), (2, "all")])
def test_matches_slow_reference(make_vit, images, start, rows):
    vit = make_vit(img_size=(32, 48))
    expected = torch.stack([reference(vit, image, start, rows) for image in images])[:, None]
    torch.testing.assert_close(NormRollout(start, rows)(vit, images), expected, rtol=1e-9, atol=1e-12)


def test_heads_that_cancel_out_add_nothing(make_vit, images):
    """Lengths that are 0 but for rounding, which may fall below it: none is NaN, and every token stays its own."""
    vit = make_vit(img_size=(32, 48)).float()
    for block in vit.blocks:
        width = block.attn.qkv.in_features
        block.attn.qkv.weight[: 2 * width], block.attn.qkv.bias[: 2 * width] = 0, 0  # all heads attend alike
        shape = (3, 3, width // 3, -1)
        block.attn.qkv.weight.view(shape)[2] = block.attn.qkv.weight.view(shape)[2, 0].clone()
        block.attn.qkv.bias.view(3, 3, -1)[2] = block.attn.qkv.bias.view(3, 3, -1)[2, 0].clone()
        first, second, third = block.attn.proj.weight.view(width, 3, -1).unbind(1)
        third.copy_(-first - second)
    maps = NormRollout(rows="all")(vit, images.float())
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / maps[0].numel()), rtol=1e-2, atol=0)


def test_layer_scale_shortens_what_is_added(make_vit, images):
    vit = make_vit(img_size=(32, 48), init_values=0.5)
    for block in vit.blocks:
        block.ls1.gamma.fill_(1e-9)
    row = NormRollout(rows="all")(vit, images)  # every token keeps to itself
    torch.testing.assert_close(row, torch.full_like(row, 1 / 24), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("eva02_base_patch16_clip_224", "normalisation behind its attention"),
        ("vit_base_patch16_xp_224", "ParallelScalingBlock"),
    ],
)
@pytest.mark.parametrize("method", [NormRollout, TokenTM])
def test_blocks_that_are_no_sum_over_tokens_are_refused(name, reason, method):
    vit = load_vit(name, pretrained=False, depth=2, img_size=64)
    vit.forward = None  # nothing may be computed
    with pytest.raises(ValueError, match=reason):
        method(rows="all")(vit, torch.zeros(1, 3, 64, 64))
