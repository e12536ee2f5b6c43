"""Relevance through timm's VisionTransformer with standard blocks: forward pass on a tape, and a sweep back over it."""

from collections.abc import Iterator

from torch import Tensor

from salvit.lrp.readout import head_gradient, head_relevance, predicted
from salvit.lrp.rules import Attended, RuleSet, divide
from salvit.lrp.sweep import Flow, from_attention, through_mlp, to_attention
from salvit.lrp.tape import embed, rounded, run_blocks
from salvit.vit import ViT, num_prefix_tokens


def attended(
    vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet, first: int, gradients: bool
) -> Iterator[Attended]:
    """Yield what reaches the attention of the last block, of the one before, … down to block `first`.

    Args:
        vit: a VisionTransformer that `salvit.lrp.support.is_standard`, in whose precision relevance flows.
        exact: what runs forward: the model itself, or its copy in float64, which keeps the sums that rules divide by.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.
        first: index of the lowest block.
        gradients: whether ∇A is asked for.

    Raises:
        ValueError: if the model gives NaN or infinity.

    Example:
        >>> import torch
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=3)
        >>> [flow.relevance.shape for flow in attended(vit, vit, torch.rand(1, 3, 32, 32), None, TRANSFORMER, 1, False)]
        [torch.Size([1, 3, 1, 5]), torch.Size([1, 3, 5, 5])]
    """
    _, tokens = embed(exact, images)
    output, tapes = run_blocks(exact, tokens, first)
    flow = _begin(vit, exact, output, target, rules, gradients)
    for index in reversed(range(first, len(vit.blocks))):
        tape = rounded(tapes.pop(), vit.blocks[index])
        reached = to_attention(tape, rules, through_mlp(tape, rules, flow))
        yield Attended(reached.relevance, reached.gradient)
        if tapes:
            flow = from_attention(tape, rules, reached)


def patch_relevance(vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet) -> Tensor:
    """Return the relevance of the patches as they leave the patch embedding, [B, hw, D], in the dtype of `exact`.

    What falls to prefix tokens and position embeddings is dropped.

    Args:
        vit: a VisionTransformer that `salvit.lrp.support.is_standard`, in whose precision relevance flows.
        exact: what runs forward: the model itself, or its copy in float64, which keeps the sums that rules divide by.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.

    Raises:
        ValueError: if the model gives NaN or infinity.

    Example:
        >>> import torch
        >>> from salvit.lrp.rules import ORIGINAL
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> patch_relevance(vit, vit, torch.rand(1, 3, 32, 32), None, ORIGINAL).shape
        torch.Size([1, 4, 192])
    """
    patches, tokens = embed(exact, images)
    output, tapes = run_blocks(exact, tokens, start=0)
    flow = _begin(vit, exact, output, target, rules, gradients=False)
    for block in reversed(vit.blocks):
        tape = rounded(tapes.pop(), block)
        flow = from_attention(tape, rules, to_attention(tape, rules, through_mlp(tape, rules, flow)))
    prefix = num_prefix_tokens(vit)
    relevance = flow.relevance[:, prefix:].to(patches.dtype)
    if vit.pos_embed is None:
        return relevance
    return patches * divide(relevance, tokens[:, prefix:])


def _begin(
    vit: ViT, exact: ViT, output: Tensor, target: Tensor | None, rules: RuleSet, gradients: bool
) -> Flow:
    """What flows into the last block from the logit explained, in the model's precision."""
    classes = predicted(exact, output) if target is None else target
    dtype = next(vit.parameters()).dtype
    relevance = head_relevance(exact, output, classes, rules).to(dtype)
    return Flow(relevance, head_gradient(exact, output, classes).to(dtype) if gradients else None)
