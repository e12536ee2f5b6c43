import pytest
import torch

from salvit.extractors import RawAttention, Rollout
from tests.extractors import slow_vit


def reference(vit, image, start, rows, head=None):
    """The whole product of matrices, for one image; of the last block one head or the mean."""
    blocks = [torch.stack(heads).mean(0) for heads in slow_vit.run(vit, image).attention]
    if head is not None:
        blocks[-1] = slow_vit.run(vit, image).attention[-1][head]
    product = torch.eye(len(blocks[0]), dtype=torch.float64)
    for attention in blocks[start:]:
        augmented = attention + torch.eye(len(attention), dtype=torch.float64)
        product = augmented / augmented.sum(1, keepdim=True) @ product
    return (product[0] if rows == "class" else product[1:].mean(0))[1:].reshape(4, 6).detach()


@pytest.mark.parametrize("rows", ["class", "all"])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_matches_slow_reference(make_vit, images, start, rows):
    vit = make_vit(img_size=(32, 48))
    expected = torch.stack([reference(vit, image, start, rows) for image in images])[:, None]
    torch.testing.assert_close(Rollout(start, rows=rows)(vit, images), expected, rtol=1e-9, atol=1e-12)
    heads = Rollout(start, per_head=True, rows=rows)(vit, images)
    for head in range(3):
        expected = torch.stack([reference(vit, image, start, rows, head) for image in images])
        torch.testing.assert_close(heads[:, head], expected, rtol=1e-9, atol=1e-12)


def test_last_block_alone_is_half_of_raw_attention(vit, images):
    torch.testing.assert_close(Rollout(-1)(vit, images), RawAttention()(vit, images) / 2)
