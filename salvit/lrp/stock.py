"""Relevance through any plain ViT: the model runs as timm wrote it, and its backward pass carries relevance.

Every operation that meets a token is answered by one whose derivative is its relevance rule (`salvit.lrp.operations`).
Of standard blocks `salvit.lrp.standard` gives the same in less time and memory.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salvit.gradients import attention_gradients, outside_graph
from salvit.hooks import in_this_thread
from salvit.lrp.operations import RelevanceMode, as_tokens, has_tokens
from salvit.lrp.rules import Attended, RuleSet
from salvit.lrp.tape import require_finite
from salvit.vit import ViT, attention_modules, fused_attention


def attended(
    vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet, first: int, gradients: bool
) -> Iterator[Attended]:
    """Yield what reaches the attention of the last block, of the one before, … down to block `first`.

    Args:
        vit: a plain timm ViT in eval mode, in whose precision are ∇A and the products of linear layers.
        exact: what passes relevance on: the model itself, or its copy in float64.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.
        first: index of the lowest block.
        gradients: whether ∇A is asked for.

    Raises:
        ValueError: if the model uses an operation that has no rule, or gives NaN or infinity.

    Example:
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5)
        >>> [flow.relevance.shape for flow in attended(vit, vit, torch.rand(1, 3, 28, 28), None, TRANSFORMER, 1, False)]
        [torch.Size([1, 3, 5, 5])]
    """
    blocks = range(first, len(vit.blocks))
    dtype = next(vit.parameters()).dtype
    rules = _in(dtype, rules)
    passed = _propagate(exact, images, target, rules, blocks, _begin_at_block(exact, first))
    of_logit = attention_gradients(vit, images.to(dtype), passed.classes, blocks)[1] if gradients else []
    for block in reversed(blocks):
        relevance = torch.cat(passed.attention.pop(block), dim=1).to(dtype)
        yield Attended(relevance, of_logit.pop() if gradients else None)


def patch_relevance(vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet) -> Tensor:
    """Return the relevance of the patches as they leave the patch embedding, [B, hw, D], in the dtype of `exact`.

    Args:
        vit: a plain timm ViT in eval mode whose patch embedding is timm's PatchEmbed, in whose precision are the
            products of linear layers.
        exact: what passes relevance on: the model itself, or its copy in float64.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.

    Raises:
        ValueError: if the model uses an operation that has no rule, or gives NaN or infinity.

    Example:
        >>> from salvit.lrp.rules import ORIGINAL
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5)
        >>> patch_relevance(vit, vit, torch.rand(1, 3, 28, 28), None, ORIGINAL).shape
        torch.Size([1, 4, 192])
    """
    rules = _in(next(vit.parameters()).dtype, rules)
    relevance = _propagate(exact, images, target, rules, range(0), _begin_at_patches(exact)).beginning
    return relevance.reshape(len(images), -1, relevance.shape[-1])


def _in(dtype: torch.dtype, rules: RuleSet) -> RuleSet:
    """The same rules, linear layers' products computed in a dtype: they are what takes the time."""

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, relevance: Tensor) -> Tensor:
        shift = None if bias is None else bias.to(dtype)
        shared = rules.linear(x.to(dtype), weight.to(dtype), shift, output.to(dtype), relevance.to(dtype))
        return shared.to(output.dtype)

    return replace(rules, linear=linear)


class _Passed(NamedTuple):
    """What a backward pass leaves behind: R where the graph begins, R_A of each block, and the classes."""

    beginning: Tensor
    attention: dict[int, list[Tensor]]
    classes: Tensor


def _propagate(
    vit: ViT,
    images: Tensor,
    target: Tensor | None,
    rules: RuleSet,
    blocks: range,
    beginning: AbstractContextManager[list[Tensor]],
) -> _Passed:
    mode = RelevanceMode(rules)
    with torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(fused_attention(vit))
        begun = stack.enter_context(beginning)
        for block in blocks:
            for module in attention_modules(vit, block):
                stack.callback(module.register_forward_pre_hook(mode.enter(block)).remove)
                stack.callback(module.register_forward_hook(mode.leave()).remove)
        with mode:
            logits = vit(outside_graph(images))
    require_finite(logits)
    if not has_tokens([logits]):
        raise ValueError(f"LRP cannot follow tokens to the logits of this {type(vit).__name__}")
    classes = logits.argmax(-1) if target is None else target
    seed = F.one_hot(classes, logits.shape[-1]).to(logits.dtype)
    [relevance] = torch.autograd.grad(logits, begun, seed)
    return _Passed(relevance, mode.attention, classes)


@contextmanager
def _begin_at_block(vit: ViT, block: int) -> Iterator[list[Tensor]]:
    """Let the graph begin at a block's input, which is yielded in a list."""
    begun: list[Tensor] = []

    def begin(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        begun[:] = [as_tokens(args[0].detach().requires_grad_())]
        return (begun[0], *args[1:])

    handle = vit.blocks[block].register_forward_pre_hook(in_this_thread(begin))
    try:
        yield begun
    finally:
        handle.remove()


@contextmanager
def _begin_at_patches(vit: ViT) -> Iterator[list[Tensor]]:
    """Let the graph begin at the patch embedding's output, which is yielded in a list."""
    begun: list[Tensor] = []

    def begin(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        begun[:] = [as_tokens(output.detach().requires_grad_())]
        return begun[0]

    handle = vit.patch_embed.register_forward_hook(in_this_thread(begin))
    try:
        yield begun
    finally:
        handle.remove()
