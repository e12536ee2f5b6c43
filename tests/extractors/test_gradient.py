import pytest
import torch

from salvit.extractors import AttentionGradient, GenericAttention
from tests.extractors import slow_vit

TARGETS = torch.tensor([4, 0, 2])


def factors(vit, image, target):
    """Per block [heads, N, N]: the positive part of attention times gradient, by hand."""
    trace = slow_vit.run(vit, image)
    gradients = slow_vit.gradients(trace.logits[target], trace)
    return [
        torch.stack([(a * g).clamp(min=0).detach() for a, g in zip(*block, strict=True)])
        for block in zip(trace.attention, gradients, strict=True)
    ]


def row(matrix, rows):
    return (matrix[0] if rows == "class" else matrix[1:].mean(0))[1:].reshape(4, 6)


def generic(vit, image, target, rows, head=None):
    blocks = factors(vit, image, target)
    fused = [block.mean(0) for block in blocks]
    if head is not None:
        fused[-1] = blocks[-1][head]
    relevance = torch.eye(25, dtype=torch.float64)
    for factor in fused:
        relevance = relevance + factor @ relevance
    return row(relevance - torch.eye(25), rows)


@pytest.mark.parametrize("rows", ["class", "all"])
def test_generic_attention_matches_slow_reference(make_vit, images, rows):
    vit = make_vit(img_size=(32, 48))
    pairs = list(zip(images, TARGETS, strict=True))
    expected = torch.stack([generic(vit, *pair, rows) for pair in pairs])[:, None]
    maps = GenericAttention(rows=rows)(vit, images, TARGETS)
    torch.testing.assert_close(maps, expected, rtol=1e-8, atol=1e-12)
    heads = GenericAttention(per_head=True, rows=rows)(vit, images, TARGETS)
    torch.testing.assert_close(heads.mean(1, keepdim=True), maps)
    expected = torch.stack([generic(vit, *pair, rows, head=1) for pair in pairs])
    torch.testing.assert_close(heads[:, 1], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("block", "rows"), [(0, "class"), (1, "all"), (-1, "class")])
def test_one_block_matches_slow_reference(make_vit, images, block, rows):
    vit = make_vit(img_size=(32, 48))
    blocks = [factors(vit, *pair)[block] for pair in zip(images, TARGETS, strict=True)]
    expected = torch.stack([torch.stack([row(head, rows) for head in heads]) for heads in blocks])
    heads = AttentionGradient(block, per_head=True, rows=rows)(vit, images, TARGETS)
    torch.testing.assert_close(heads, expected, rtol=1e-8, atol=1e-12)
    fused = AttentionGradient(block, rows=rows)(vit, images, TARGETS)
    torch.testing.assert_close(fused, expected.sum(1, keepdim=True))


def test_mean_over_blocks(vit, images):
    blocks = torch.stack([AttentionGradient(block)(vit, images, TARGETS) for block in range(3)])
    torch.testing.assert_close(AttentionGradient("mean")(vit, images, TARGETS), blocks.mean(0))
