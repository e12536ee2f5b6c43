"""The reverse sweep: relevance, and beside it the gradient, from the last block's output down, block by block."""

from dataclasses import dataclass

import torch
from timm.layers import Attention
from torch import Tensor, nn

from salvit.lrp.pullback import Pullback, vjp
from salvit.lrp.rules import RuleSet, add_to_first, bilinear, clone
from salvit.lrp.tape import BlockTape, after_attention, join_heads, scaled, split_heads


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
    x = after_attention(tape)
    kept, branch = rules.add(x, scaled(block.ls2, tape.output), flow.relevance)
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
    kept, branch = rules.add(x, scaled(block.ls1, tape.attended), flow.relevance)
    normed, pull = vjp(attention.norm, tape.mixed)
    mixed_relevance = _linear(rules, attention.proj, normed, tape.attended, branch)
    query, key, value = (part.contiguous() for part in split_heads(attention, tape.query, tape.key_value))
    query = query * _scale(query)
    scores = query @ key.mT
    weights, pull_softmax = vjp(lambda scores: scores.softmax(-1), scores)
    mixed, mixed_relevance = (_split(attention, part) for part in (tape.mixed, mixed_relevance))
    relevance, value_relevance = bilinear(weights, value.mT, mixed, mixed_relevance)
    gradient = mixed_gradient = None
    if flow.gradient is not None:
        pulled = pull(scaled(block.ls1, flow.gradient) @ attention.proj.weight)
        mixed_gradient = _split(attention, pulled)
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
    query, key = bilinear(flow.query, flow.key, flow.scores, flow.relevance, _scale(flow.query))
    joined = torch.cat((join_heads(key), join_heads(flow.value_relevance)), dim=-1)
    of_query, of_key_value = _projections(tape)
    read = tape.query.shape[1]
    relevance = rules.linear(normed, *of_key_value, tape.key_value, joined)
    return add_to_first(relevance, rules.linear(normed[:, :read], *of_query, tape.query, join_heads(query)))


def _projections_gradient(tape: BlockTape, flow: AttentionFlow) -> Tensor:
    """Gradient of the normalised tokens, through softmax, scores and the projections."""
    attention = tape.block.attn
    assert flow.gradient is not None
    assert flow.mixed_gradient is not None
    scores = flow.pull_softmax(flow.gradient)
    keys, _ = tape.key_value.chunk(2, dim=-1)
    query = _through_norm(
        attention, attention.q_norm, tape.query, (scores @ flow.key).mul_(_scale(flow.query))
    )
    key = _through_norm(attention, attention.k_norm, keys, scores.mT @ flow.query)
    value = join_heads(flow.attention.mT @ flow.mixed_gradient)
    (query_weight, _), (key_value_weight, _) = _projections(tape)
    return add_to_first(torch.cat((key, value), dim=-1) @ key_value_weight, query @ query_weight)


def _scale(query: Tensor) -> float:
    """What attention multiplies its scores by."""
    return float(query.shape[-1] ** -0.5)


def _through_norm(attention: Attention, norm: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    _, pull = vjp(norm, _split(attention, x))
    return join_heads(pull(gradient))


def _projections(tape: BlockTape) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of the queries, and of keys and values."""
    projection, width = tape.block.attn.qkv, tape.query.shape[-1]
    bias = projection.bias
    return [
        (projection.weight[part], None if bias is None else bias[part])
        for part in (slice(width), slice(width, None))
    ]


def _linear(rules: RuleSet, layer: nn.Linear, x: Tensor, output: Tensor, relevance: Tensor) -> Tensor:
    return rules.linear(x, layer.weight, layer.bias, output, relevance)


def _split(attention: Attention, tensor: Tensor) -> Tensor:
    heads: int = attention.num_heads
    # Contiguous, because each product of a strided view would copy it anew.
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()
