"""Gradients of class logits with respect to attention."""

from collections.abc import Sequence

from torch import Tensor

from salvit.gradients.logits import differentiable, outside_graph, target_logits
from salvit.gradients.replay import replay_block
from salvit.hooks import inputs_of
from salvit.recording import Recording, record
from salvit.vit import ViT, fused_attention, tokens_read
from salvit.vit.tokenwise import tokens_meet_in_attention_alone


def attention_gradients(
    vit: ViT, images: Tensor, target: Tensor | None, blocks: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the attention of some blocks and the gradients of the target logits with respect to it.

    One forward and one backward pass for the whole batch; the graph begins at the first of the blocks.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.
        blocks: block indices.

    Returns:
        For each entry of `blocks` the attention, and for each the gradient, both [B, heads, N, N].

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> attention, gradients = attention_gradients(vit, torch.rand(1, 3, 32, 32), None, [0, 1])
        >>> [gradient.shape for gradient in gradients]
        [torch.Size([1, 3, 5, 5]), torch.Size([1, 3, 5, 5])]
    """
    with differentiable():
        recording, logits = _recorded_pass(vit, outside_graph(images), blocks)
        attention = [recording.attention[block] for block in blocks]
        gradients = recording.gradients(target_logits(logits, target), blocks)
    return [block.detach() for block in attention], gradients


def _recorded_pass(vit: ViT, images: Tensor, blocks: Sequence[int]) -> tuple[Recording, Tensor]:
    """Record attention within a graph; of the last block compute no more than the classifier reads."""
    last = len(vit.blocks) - 1
    read = tokens_read(vit)
    if read is None or last not in blocks or not tokens_meet_in_attention_alone(vit):
        with record(vit, blocks, gradients=True) as recording:
            logits = vit(images)
        return recording, logits
    with fused_attention(vit), inputs_of([vit.blocks[last]]) as entering:
        with record(vit, blocks, gradients=True, values=True, stop=True) as recording:
            vit(images)
        row = replay_block(vit, entering[vit.blocks[last]][:, :read], recording, last)
        return recording, vit.forward_head(vit.norm(row))
