"""Gradients with respect to the class token's attention, through the residual stream and the MLPs only."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from salvit.gradients.logits import differentiable, outside_graph, target_logits
from salvit.gradients.replay import replay_block
from salvit.hooks import in_this_thread, inputs_of, outputs_of
from salvit.recording import Recording, record
from salvit.vit import ViT, attention_modules, fused_attention
from salvit.vit.tokenwise import tokens_meet_in_attention_alone

_FUSED = F.scaled_dot_product_attention


class ClassRow(NamedTuple):
    """The class token's row in consecutive blocks, each tensor [B, heads, 1, N].

    Attributes:
        attention: after the softmax.
        scores: before it, scaled.
        gradients: of the target logits with respect to the attention.
    """

    attention: list[Tensor]
    scores: list[Tensor]
    gradients: list[Tensor]


def class_row_gradients(vit: ViT, images: Tensor, target: Tensor | None, first: int = 0) -> ClassRow:
    """Return the class token's attention and its gradient through the residual stream and the MLPs only.

    Where no gradient enters an attention's input, the logits depend on a block's attention through the class
    token's row alone. So the model runs as it is, with the fused kernel and without a graph, and then only
    the class token goes through the blocks again, given the attention and the values of the first pass. A model in
    which tokens may meet elsewhere runs once, with the graph of all tokens.

    Args:
        vit: a plain timm ViT in eval mode that classifies from its class token.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.
        first: first of the blocks.

    Returns:
        The rows of blocks first … last. In the last block the gradient is the ordinary one.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> class_row_gradients(vit, torch.rand(1, 3, 32, 32), None).gradients[0].shape
        torch.Size([1, 3, 1, 5])
    """
    blocks = range(first, len(vit.blocks))
    if not tokens_meet_in_attention_alone(vit):
        return _class_rows_of_whole_pass(vit, images, target, blocks)
    with differentiable(), fused_attention(vit):
        with torch.no_grad():
            recording, entry, exit_tokens = _plain_pass(vit, outside_graph(images), blocks)
        attention = [recording.attention[block].requires_grad_() for block in blocks]
        row = _replay(vit, entry, recording, blocks)
        logits = vit.forward_head(vit.norm(torch.cat([row, exit_tokens[:, 1:]], dim=1)))
        gradients = torch.autograd.grad(target_logits(logits, target), attention)
    scores = [recording.scores[block] for block in blocks]
    return ClassRow([block.detach() for block in attention], scores, list(gradients))


def _plain_pass(vit: ViT, images: Tensor, blocks: range) -> tuple[Recording, Tensor, Tensor]:
    """Return the recorded class rows, the class token before the first block, all tokens after the last."""
    first, last = vit.blocks[blocks[0]], vit.blocks[blocks[-1]]
    with (
        inputs_of([first]) as entering,
        outputs_of([last]) as leaving,
        record(vit, blocks, rows="class", scores=True, values=True) as recording,
    ):
        vit(images)
    return recording, entering[first][:, :1], leaving[last]


def _replay(vit: ViT, row: Tensor, recording: Recording, blocks: range) -> Tensor:
    """Send the class token [B, 1, D] through the blocks alone; attention's input is outside the graph."""
    for block in blocks:
        row = replay_block(vit, row, recording, block)
    return row


def _class_rows_of_whole_pass(vit: ViT, images: Tensor, target: Tensor | None, blocks: range) -> ClassRow:
    with differentiable(), fused_attention(vit), _without_gradient_into_attention(vit, blocks):
        with record(vit, blocks, gradients=True, scores=True) as recording, _CutOff():
            logits = vit(outside_graph(images))
        gradients = recording.gradients(target_logits(logits, target), blocks)
    attention, scores = (
        [maps[block][:, :, :1].detach() for block in blocks]
        for maps in (recording.attention, recording.scores)
    )
    return ClassRow(attention, scores, [gradient[:, :, :1] for gradient in gradients])


@contextmanager
def _without_gradient_into_attention(vit: ViT, blocks: range) -> Iterator[None]:
    """Let no gradient into attentions' inputs, which some read for more than queries, keys and values."""

    @in_this_thread
    def cut_off(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return tree_map_only(Tensor, Tensor.detach, (args, kwargs))

    with ExitStack() as stack:
        for block in blocks:
            for module in attention_modules(vit, block):
                if module is not vit.blocks[block]:  # where the MLP is part of it
                    stack.callback(module.register_forward_pre_hook(cut_off, with_kwargs=True).remove)
        yield


class _CutOff(TorchFunctionMode):
    """Lets no gradient into the queries, keys and values of fused attentions."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _FUSED:
            args, kwargs = tree_map_only(Tensor, Tensor.detach, (args, kwargs))
        return func(*args, **kwargs)
