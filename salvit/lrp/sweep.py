"""The reverse sweep: relevance, and beside it the gradient, from the last block's output down, block by block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from salvit.lrp.pullback import Pullback, vjp
from salvit.lrp.rules import STABILIZER, RuleSet, add_to_first, bilinear, clone, divide
from salvit.lrp.tape import (
    BlockTape,
    Projection,
    by_head,
    join_projected,
    projections,
    scaled,
    score_scale,
    split_heads,
)


@dataclass
class Flow:
    """What flows down.

    Attributes:
        relevance: R, [B, n, D].
        gradient: gradient of the logit explained, of the same shape, or None if nothing needs it.
    """

    relevance: Tensor
    gradient: Tensor | None = None


@dataclass
class AttentionFlow:
    """What reaches a block's attention A.

    Attributes:
        residual: what flows past the attention.
        query: normalised queries times the attention's scale, [B, heads, r, d].
        key: normalised keys, [B, heads, N, d].
        scores: their products, before the softmax, [B, heads, r, N].
        attention: A, of the same shape.
        relevance: R_A, of the same shape.
        value_relevance: of the values, [B, heads, N, d].
        gradient: ∇A, of the shape of A, or None.
        mixed_gradient: gradient of A·V, [B, heads, r, d], or None.
        pull_softmax: takes ∇A to the gradient of the scores.
    """

    residual: Flow
    query: Tensor
    key: Tensor
    scores: Tensor
    attention: Tensor
    relevance: Tensor
    value_relevance: Tensor
    gradient: Tensor | None
    mixed_gradient: Tensor | None
    pull_softmax: Pullback


def through_mlp(tape: BlockTape, rules: RuleSet, flow: Flow) -> Flow:
    """Carry relevance and gradient from a block's output to between its attention and its MLP.

    Args:
        tape: the block's tape.
        rules: how linear layers and additions share relevance.
        flow: at the block's output, [B, r, D].

    Returns:
        The flow at the MLP's residual addition, [B, r, D].

    Example:
        >>> import torch
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.lrp.tape import run_blocks
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1)
        >>> _, [tape] = run_blocks(vit, torch.rand(2, 5, 192), start=0)
        >>> flow = Flow(torch.rand(2, 1, 192))
        >>> through_mlp(tape, TRANSFORMER, flow).relevance.shape
        torch.Size([2, 1, 192])
    """
    block, mlp = tape.block, tape.block.mlp
    x = tape.between
    output = scaled(block.ls2, tape.output)
    kept, branch = rules.add(x, output, tape.leaving, flow.relevance)
    activated, pull_activation = vjp(lambda hidden: mlp.norm(mlp.act(hidden)), tape.hidden)
    relevance = _linear(rules, mlp.fc2, activated, tape.output, branch)
    normed, pull_norm = vjp(block.norm2, x)
    relevance = _linear(rules, mlp.fc1, normed, tape.hidden, relevance)
    relevance = clone(x, kept, relevance)
    if flow.gradient is None:
        return Flow(relevance)
    gradient = pull_activation(scaled(block.ls2, flow.gradient) @ mlp.fc2.weight)
    return Flow(relevance, flow.gradient + pull_norm(gradient @ mlp.fc1.weight))


def to_attention(tape: BlockTape, rules: RuleSet, flow: Flow) -> AttentionFlow:
    """Carry relevance and gradient from behind a block's attention to its matrix A.

    Args:
        tape: the block's tape.
        rules: how linear layers and additions share relevance.
        flow: behind the attention's residual addition, [B, r, D].

    Returns:
        The flow at A and past it.

    Example:
        >>> import torch
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.lrp.tape import run_blocks
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1)
        >>> _, [tape] = run_blocks(vit, torch.rand(2, 5, 192), start=0)
        >>> flow = Flow(torch.rand(2, 1, 192))
        >>> to_attention(tape, TRANSFORMER, flow).relevance.shape
        torch.Size([2, 3, 1, 5])
    """
    block, attention = tape.block, tape.block.attn
    x = tape.x[:, : tape.attended.shape[1]]
    kept, branch = rules.add(x, scaled(block.ls1, tape.attended), tape.between, flow.relevance)
    normed, pull = vjp(attention.norm, tape.mixed)
    mixed_share = divide(_linear(rules, attention.proj, normed, tape.attended, branch), tape.mixed)
    query, key, value = (part.contiguous() for part in split_heads(attention, tape.projected))
    query = query * score_scale(query)
    scores = query @ key.mT if tape.scores is None else tape.scores
    weights, pull_softmax = vjp(lambda scores: scores.softmax(-1), scores)
    # Contiguous, because each product of a strided view would copy it anew.
    relevance, value_relevance = bilinear(weights, value.mT, by_head(attention, mixed_share).contiguous())
    gradient = mixed_gradient = None
    if flow.gradient is not None:
        pulled = pull(scaled(block.ls1, flow.gradient) @ attention.proj.weight)
        mixed_gradient = by_head(attention, pulled).contiguous()
        gradient = mixed_gradient @ value.mT
    return AttentionFlow(
        residual=Flow(kept, flow.gradient),
        query=query,
        key=key,
        scores=scores,
        attention=weights,
        relevance=relevance,
        value_relevance=value_relevance.mT,
        gradient=gradient,
        mixed_gradient=mixed_gradient,
        pull_softmax=pull_softmax,
    )


def from_attention(tape: BlockTape, rules: RuleSet, flow: AttentionFlow) -> Flow:
    """Carry relevance and gradient from a block's attention matrix to its input.

    Args:
        tape: the block's tape.
        rules: how linear layers and additions share relevance.
        flow: at the attention matrix.

    Returns:
        The flow at the block's input, [B, N, D].

    Example:
        >>> import torch
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.lrp.tape import run_blocks
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1)
        >>> _, [tape] = run_blocks(vit, torch.rand(2, 5, 192), start=0)
        >>> flow = Flow(torch.rand(2, 1, 192))
        >>> attended = to_attention(tape, TRANSFORMER, flow)
        >>> from_attention(tape, TRANSFORMER, attended).relevance.shape
        torch.Size([2, 5, 192])
    """
    normed, pull = vjp(tape.block.norm1, tape.x)
    relevance = clone(tape.x, flow.residual.relevance, _projections_relevance(tape, rules, flow, normed))
    if flow.residual.gradient is None:
        return Flow(relevance)
    gradient = pull(_projections_gradient(tape, flow))
    return Flow(relevance, add_to_first(gradient, flow.residual.gradient))


def _projections_relevance(tape: BlockTape, rules: RuleSet, flow: AttentionFlow, normed: Tensor) -> Tensor:
    """Relevance of the normalised tokens, through scores and the joint projection to queries, keys, values."""
    # The rule is for unscaled products: with a scaled stabiliser it gives the same on scaled ones.
    share = divide(flow.relevance, flow.scores, STABILIZER * score_scale(flow.query))
    parts = (*bilinear(flow.query, flow.key, share), flow.value_relevance)
    return _through_projections(
        tape,
        parts,
        lambda part, output, relevance: rules.linear(
            normed[:, : part.tokens], part.weight, part.bias, output, relevance
        ),
    )


def _projections_gradient(tape: BlockTape, flow: AttentionFlow) -> Tensor:
    """Gradient of the normalised tokens, through softmax, scores and the projections."""
    attention = tape.block.attn
    assert flow.gradient is not None
    assert flow.mixed_gradient is not None
    scores = flow.pull_softmax(flow.gradient)
    gradients = ((scores @ flow.key).mul_(score_scale(flow.query)), scores.mT @ flow.query)
    before = split_heads(attention, tape.projected, normalised=False)
    query, key = (
        vjp(norm, x)[1](gradient)
        for norm, x, gradient in zip((attention.q_norm, attention.k_norm), before, gradients, strict=False)
    )
    parts = (query, key, flow.attention.mT @ flow.mixed_gradient)
    return _through_projections(tape, parts, lambda part, output, gradient: gradient @ part.weight)


def _through_projections(
    tape: BlockTape, parts: Sequence[Tensor], back: Callable[[Projection, Tensor, Tensor], Tensor]
) -> Tensor:
    """Carry what belongs to queries, keys and values back to the normalised tokens, [B, N, D]."""
    attention, read = tape.block.attn, tape.attended.shape[1]
    layers = projections(attention, read, tape.x.shape[1])
    joined = join_projected(attention, tape, parts)
    carried = [back(*part) for part in zip(layers, tape.projected, joined, strict=True)]
    return carried[0] if len(carried) == 1 else add_to_first(carried[1], carried[0])


def _linear(rules: RuleSet, layer: nn.Linear, x: Tensor, output: Tensor, relevance: Tensor) -> Tensor:
    return rules.linear(x, layer.weight, layer.bias, output, relevance)
