import math

import pytest
import torch

from salvit.extractors import TokenTM
from tests.extractors import slow_vit


def weights(before, after):
    """‖ẽ‖/‖e‖ times the share of exp cos(e, ẽ), one token at a time."""
    pairs = list(zip(before, after, strict=True))
    exponentials = [math.exp(float(e @ changed / e.norm() / changed.norm())) for e, changed in pairs]
    ratios = [float(changed.norm() / e.norm()) for e, changed in pairs]
    return [ratio * one / sum(exponentials) for ratio, one in zip(ratios, exponentials, strict=True)]


def contributions(vit, image, target, heads=None):
    """C [N, N] of one image, as products of whole matrices; of the last block only one head if `heads` names it."""
    with torch.enable_grad():
        trace = slow_vit.run(vit, image)
        gradients = slow_vit.gradients(trace.logits[target], trace)
    w = dict(vit.state_dict())
    count, last = len(trace.inputs[0]), len(vit.blocks) - 1
    product = torch.diag(trace.inputs[0].detach().norm(dim=1))
    for index in range(last + 1):
        projection = w[f"blocks.{index}.attn.proj.weight"]
        used = range(vit.blocks[0].attn.num_heads) if heads is None or index < last else heads
        update = torch.zeros(count, count, dtype=torch.float64)
        for head in used:
            value = trace.values[index][head].detach()
            width = value.shape[1]
            changed = value @ projection[:, head * width : (head + 1) * width].T
            w_head = weights(trace.inputs[index].detach(), changed)
            for i in range(count):
                for j in range(count):
                    gradient = max(float(gradients[index][head][i, j]), 0.0)
                    attention = float(trace.attention[index][head][i, j].detach())
                    update[i, j] += gradient * attention * w_head[j] / len(used)
        product = product + update @ product
        between = trace.between[index].detach()
        mlp = torch.tensor(weights(between, trace.outputs[index].detach() - between), dtype=torch.float64)
        product = product + torch.diag(mlp) @ product
    return product


@pytest.mark.parametrize("rows", ["class", "all"])
def test_matches_slow_reference(make_vit, images, rows):
    vit = make_vit(img_size=(32, 48))
    maps = TokenTM(rows=rows)(vit, images, torch.tensor([1, 4, 0]))
    for image, target, row in zip(images, (1, 4, 0), maps, strict=True):
        product = contributions(vit, image, target)
        expected = product[0] if rows == "class" else product[1:].mean(0)
        torch.testing.assert_close(row[0].flatten(), expected[1:], rtol=1e-9, atol=1e-12)


def test_a_token_that_enters_as_nothing(make_vit, images):
    """Its length is 0, and what it becomes is not divided by that."""
    vit = make_vit(img_size=(32, 48))
    for parameter in vit.patch_embed.parameters():
        parameter.zero_()
    vit.pos_embed[:, 5] = 0
    assert TokenTM()(vit, images[:1], 3).isfinite().all()


def test_heads_match_slow_reference_and_average_to_the_map(make_vit, images):
    vit = make_vit(img_size=(32, 48))
    maps = TokenTM(per_head=True)(vit, images[:1], 3)
    expected = [contributions(vit, images[0], 3, [head])[0, 1:].reshape(4, 6) for head in range(3)]
    torch.testing.assert_close(maps[0], torch.stack(expected), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(maps.mean(1, keepdim=True), TokenTM()(vit, images[:1], 3))


def test_layer_scale_shortens_what_attention_adds(make_vit, images):
    """With attention and MLP that add next to nothing, each token keeps its length."""
    vit = make_vit(img_size=(32, 48), init_values=0.5)
    for block in vit.blocks:
        block.ls1.gamma.fill_(1e-12)
        block.ls2.gamma.fill_(1e-12)
    entering = []
    vit.blocks[0].register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    maps = TokenTM(rows="all")(vit, images)
    expected = entering[0][:, 1:].norm(dim=-1).reshape(3, 1, 4, 6) / 24
    torch.testing.assert_close(maps, expected, rtol=1e-6, atol=0)
