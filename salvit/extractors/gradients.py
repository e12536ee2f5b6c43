"""Gradients of class logits with respect to attention, on frozen models and in any grad mode."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from salvit.extractors.recording import inputs_of, outputs_of, record
from salvit.vit import ViT, attention_modules, fused_attention


@contextmanager
def differentiable() -> Iterator[None]:
    """Record an autograd graph inside the `with` block, also under `no_grad` and `inference_mode`.

    Example:
        >>> with torch.inference_mode(), differentiable():
        ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        (True, False)
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def outside_graph(tensor: Tensor) -> Tensor:
    """Return a copy without history that autograd may save, also of a tensor made in inference mode."""
    return tensor.detach().clone()


def target_logits(logits: Tensor, target: Tensor | None) -> Tensor:
    """Return the sum over the batch of each image's target logit, a scalar.

    Args:
        logits: [B, classes].
        target: int64 [B], or None for the predicted classes.

    Example:
        >>> target_logits(torch.tensor([[1.0, 2.0], [8.0, 4.0]]), torch.tensor([1, 1]))
        tensor(6.)
    """
    classes = logits.argmax(dim=-1) if target is None else outside_graph(target)
    return logits.gather(1, classes[:, None]).sum()


def pixel_gradient(vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
    """Return the gradients of the target logits with respect to the pixels, [B, 3, H, W].

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> pixel_gradient(vit, torch.rand(2, 3, 32, 32), None).shape
        torch.Size([2, 3, 32, 32])
    """
    with differentiable():
        pixels = outside_graph(images).requires_grad_()
        [gradient] = torch.autograd.grad(target_logits(vit(pixels), target), pixels)
    return gradient


class AttentionGradients(NamedTuple):
    """Attention of some blocks and the logit's gradient, each tensor [B, heads, N or 1, N], by block.

    Attributes:
        attention: after the softmax.
        scores: before it, scaled; empty unless asked for.
        gradients: gradients of the target logits with respect to the attention.
    """

    attention: list[Tensor]
    scores: list[Tensor]
    gradients: list[Tensor]


def attention_gradients(
    vit: ViT, images: Tensor, target: Tensor | None, blocks: Sequence[int], *, residual_only: bool = False
) -> AttentionGradients:
    """Return the attention of some blocks and the gradients of the target logits with respect to it.

    One forward and one backward pass for the whole batch; the graph begins at the first of the blocks.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.
        blocks: block indices.
        residual_only: let gradients flow through the residual stream and the MLPs only, and return the scores as well.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> [one.shape for one in attention_gradients(vit, torch.rand(1, 3, 32, 32), None, [0, 1]).gradients]
        [torch.Size([1, 3, 5, 5]), torch.Size([1, 3, 5, 5])]
    """
    with differentiable(), fused_attention(vit):
        with record(
            vit, blocks, gradients=True, scores=residual_only, residual_only=residual_only
        ) as recording:
            logits = vit(outside_graph(images))
        gradients = recording.gradients(target_logits(logits, target), blocks)
    attention = [recording.attention[block].detach() for block in blocks]
    scores = [recording.scores[block].detach() for block in blocks] if residual_only else []
    return AttentionGradients(attention, scores, gradients)


def class_row_gradients(vit: ViT, images: Tensor, target: Tensor | None) -> AttentionGradients:
    """Return the class token's row of every block's attention, and its gradient through residual stream and MLPs only.

    The logit then depends on a block's attention through the class token's row alone. So the model runs without a
    graph, and only the class token goes through the blocks again: 1.14 forward passes instead of 1.29 (ViT-B/16, batch
    8, one CPU core; the limit is 1.15). Models in which this does not reproduce the class token, and models with
    hooks, which must see each pass once, take the whole graph.

    Args:
        vit: a plain timm ViT in eval mode that classifies from its class token.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> class_row_gradients(vit, torch.rand(1, 3, 32, 32), None).gradients[0].shape
        torch.Size([1, 3, 1, 5])
    """
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in vit.blocks.modules())
    found = None if hooks else _replayed(vit, images, target)
    if found is None:
        whole = attention_gradients(vit, images, target, range(len(vit.blocks)), residual_only=True)
        found = AttentionGradients(*([block[:, :, :1] for block in part] for part in whole))
    return found


def _replayed(vit: ViT, images: Tensor, target: Tensor | None) -> AttentionGradients | None:
    """Replay the class token alone; None unless that gives what the whole pass gave, up to rounding."""
    blocks = range(len(vit.blocks))
    with differentiable(), fused_attention(vit):
        with (
            torch.no_grad(),
            inputs_of([vit.blocks[0]]) as entering,
            outputs_of([vit.blocks[-1]]) as leaving,
            record(vit, rows="class", scores=True, values=True) as recording,
        ):
            vit(outside_graph(images))
        attention = [recording.attention[block].requires_grad_() for block in blocks]
        row, tokens = entering[vit.blocks[0]][:, :1], leaving[vit.blocks[-1]]
        try:
            for block in blocks:
                modules: list[Any] = attention_modules(vit, block)
                with torch.autocast(images.device.type, enabled=False):
                    values = recording.values[block]
                    mixed = (attention[block] @ values.to(attention[block].dtype)).to(values.dtype)
                with _Answer(modules, mixed.split([module.num_heads for module in modules], dim=1)):
                    row = vit.blocks[block](row)
        except (RuntimeError, ValueError, IndexError, StopIteration):  # a block that cannot take one token
            return None
        error, size = (row - tokens[:, :1]).abs().max(), tokens[:, :1].abs().max()
        if row.shape != tokens[:, :1].shape or not error <= torch.finfo(row.dtype).eps ** 0.5 * size:
            return None
        logits = vit.forward_head(vit.norm(torch.cat([row, tokens[:, 1:]], dim=1)))
        gradients = torch.autograd.grad(target_logits(logits, target), attention)
    scores = [recording.scores[block] for block in blocks]
    return AttentionGradients([block.detach() for block in attention], scores, list(gradients))


class _Answer(TorchFunctionMode):
    """Answers the fused attentions of a block, one after the other, and skips the projections before them.

    Only the call that is answered reads these projections: zeros of the right shape spare reading their weights.
    """

    def __init__(self, modules: Sequence[nn.Module], outputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.outputs = iter(outputs)
        names = ("qkv", "q_proj", "k_proj", "v_proj")
        layers = (getattr(module, name, None) for module in modules for name in names)
        self.skipped = [layer.weight for layer in layers if layer is not None]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return next(self.outputs)
        if func is F.linear:
            weight = kwargs["weight"] if len(args) < 2 else args[1]
            if any(weight is skipped for skipped in self.skipped):
                return args[0].new_zeros(*args[0].shape[:-1], len(weight))
        return func(*args, **kwargs)
