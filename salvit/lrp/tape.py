"""The forward pass, keeping of every block what its relevance and gradient need.

The modules of the model are called in the order in which its own forward calls them. What the classifier does not
read is not computed: with a class token, the last block's queries and MLP are those of the class token alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from salvit.vit import ViT, tokens_read


@dataclass
class BlockTape:
    """What one block leaves behind, r of its N tokens being read further on.

    All are activations before LayerScale; attention maps, normalised tokens and the MLP's activation are cheap
    to compute again.

    Attributes:
        block: the timm block.
        x: its input, [B, N, D].
        projected: output of the attention's first layer, queries and keys before their normalisation: one tensor
            [B, N, 3 · heads · d], or, for r < N, queries [B, r, heads · d] and keys with values [B, N, 2 · heads · d].
        mixed: heads' outputs A·V side by side, [B, r, heads · d].
        attended: output of the attention's projection, [B, r, D].
        between: the tokens after the attention's residual addition, [B, r, D].
        hidden: output of the MLP's first layer, [B, r, E].
        output: output of the MLP's second layer, [B, r, D].
        leaving: the tokens after the MLP's residual addition, [B, r, D].
        scores: of the attention, scaled, before the softmax, [B, heads, r, N]; None where they are computed again.
    """

    block: Block
    x: Tensor
    projected: list[Tensor]
    mixed: Tensor
    attended: Tensor
    between: Tensor
    hidden: Tensor
    output: Tensor
    leaving: Tensor
    scores: Tensor | None = None


def embed(vit: ViT, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the patch tokens, and all tokens with their position embeddings.

    Args:
        vit: a timm VisionTransformer.
        images: [B, 3, H, W].

    Returns:
        The patches [B, hw, D], and what enters the model's first normalisation or block, [B, N, D].

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> [list(tokens.shape) for tokens in embed(vit, torch.rand(1, 3, 32, 32))]
        [[1, 4, 192], [1, 5, 192]]
    """
    patches = vit.patch_embed(images)
    return patches.reshape(len(patches), -1, patches.shape[-1]), vit._pos_embed(patches)


def run_blocks(vit: ViT, tokens: Tensor, start: int) -> tuple[Tensor, list[BlockTape]]:
    """Run the model's blocks, with a tape from block `start` on.

    Args:
        vit: a timm VisionTransformer.
        tokens: with their position embeddings, [B, N, D].
        start: first block whose tape is kept.

    Returns:
        The last block's output, of the tokens that the classifier reads, [B, r, D]; and the tapes of blocks
        `start` to the last.

    Raises:
        ValueError: if the output has NaN or infinity.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> output, tapes = run_blocks(vit, torch.rand(1, 5, 192), start=1)
        >>> output.shape, len(tapes)
        (torch.Size([1, 1, 192]), 1)
    """
    x, tapes = vit.norm_pre(tokens), []
    for index, block in enumerate(vit.blocks):
        read = tokens_read(vit) if index == len(vit.blocks) - 1 else None
        tape = _run_block(block, x, read or x.shape[1])
        if index >= start:
            tapes.append(tape)
        x = tape.leaving
    require_finite(x)
    return x, tapes


def require_finite(output: Tensor) -> None:
    """Raise if a model's output is not finite: the rules make every quotient finite, so it would not show in the map.

    Args:
        output: any shape.

    Raises:
        ValueError: if it has NaN or infinity.
    """
    if not output.isfinite().all():
        raise ValueError("the model gives NaN or infinity: weights are damaged, or activations overflow")


def _run_block(block: Block, x: Tensor, read: int) -> BlockTape:
    attention, mlp = block.attn, block.mlp
    normed = block.norm1(x)
    projected = [
        F.linear(normed[:, :count], weight, bias)
        for count, weight, bias in projections(attention, read, x.shape[1])
    ]
    mixed = join_heads(F.scaled_dot_product_attention(*split_heads(attention, projected)))
    attended = attention.proj(attention.norm(mixed))
    between = x[:, :read] + scaled(block.ls1, attended)
    hidden = mlp.fc1(block.norm2(between))
    output = mlp.fc2(mlp.norm(mlp.act(hidden)))
    leaving = between + scaled(block.ls2, output)
    return BlockTape(block, x, projected, mixed, attended, between, hidden, output, leaving)


def rounded(tape: BlockTape, block: Block) -> BlockTape:
    """Return a tape in the precision of another copy of its block; sums of activations are computed before.

    Args:
        tape: the block's tape, in float64.
        block: the block in a lower precision, or of the tape itself, which is then returned as it is.

    Example:
        >>> import copy, torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1)
        >>> _, [tape] = run_blocks(copy.deepcopy(vit).double(), torch.rand(1, 5, 192).double(), start=0)
        >>> tape.x.dtype, rounded(tape, vit.blocks[0]).x.dtype
        (torch.float64, torch.float32)
    """
    if tape.block is block:
        return tape
    dtype = block.attn.qkv.weight.dtype
    lower: dict[str, Any] = {
        name: value.to(dtype) for name, value in vars(tape).items() if isinstance(value, Tensor)
    }
    query, key, _ = split_heads(tape.block.attn, tape.projected)
    scores = ((query * score_scale(query)) @ key.mT).to(dtype)
    projected = [part.to(dtype) for part in tape.projected]
    return replace(tape, block=block, projected=projected, scores=scores, **lower)


def score_scale(query: Tensor) -> float:
    """Return what attention multiplies its scores by.

    Args:
        query: [B, heads, r, d].

    Example:
        >>> import torch
        >>> score_scale(torch.ones(1, 1, 1, 4))
        0.5
    """
    return float(query.shape[-1] ** -0.5)


class Projection(NamedTuple):
    """A linear layer, and how many of the first tokens go through it.

    Attributes:
        tokens: their number.
        weight: [E, D].
        bias: [E], or None.
    """

    tokens: int
    weight: Tensor
    bias: Tensor | None


def projections(attention: Attention, read: int, tokens: int) -> list[Projection]:
    """Return the layer of queries, keys and values: whole, or in two where not every query is read.

    Args:
        attention: timm's Attention.
        read: number of queries, those of the first tokens.
        tokens: number of keys and values.

    Example:
        >>> attention = Attention(6, num_heads=3)
        >>> [list(part.weight.shape) for part in projections(attention, read=1, tokens=5)]
        [[6, 6], [12, 6]]
    """
    weight, bias = attention.qkv.weight, attention.qkv.bias
    if read == tokens:
        return [Projection(tokens, weight, bias)]
    width = len(weight) // 3
    return [
        Projection(count, weight[part], None if bias is None else bias[part])
        for count, part in ((read, slice(width)), (tokens, slice(width, None)))
    ]


def scaled(layer_scale: nn.Module, branch: Tensor) -> Tensor:
    """Return a residual branch after its LayerScale, if it has one, leaving the branch as it is.

    Args:
        layer_scale: LayerScale or Identity.
        branch: [B, r, D].

    Example:
        >>> import torch
        >>> from timm.layers import LayerScale
        >>> scaled(LayerScale(2, init_values=0.5), torch.ones(1, 1, 2)).tolist()
        [[[0.5, 0.5]]]
    """
    # Not by calling the module: an in-place LayerScale would overwrite the tape.
    gamma = getattr(layer_scale, "gamma", None)
    return branch if gamma is None else branch * gamma


def split_heads(
    attention: Attention, projected: list[Tensor], normalised: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, [B, heads, ·, d] each.

    Args:
        attention: timm's Attention.
        projected: output of its `projections`.
        normalised: whether queries and keys are normalised, if the model does so.

    Example:
        >>> import torch
        >>> attention = Attention(6, num_heads=3)
        >>> [list(part.shape) for part in split_heads(attention, [torch.rand(1, 1, 6), torch.rand(1, 5, 12)])]
        [[1, 3, 1, 2], [1, 3, 5, 2], [1, 3, 5, 2]]
    """
    query, key, value = (by_head(attention, part) for part in _queries_keys_values(attention, projected))
    return (attention.q_norm(query), attention.k_norm(key), value) if normalised else (query, key, value)


def by_head(attention: Attention, tensor: Tensor) -> Tensor:
    """Return a view of [B, n, heads · d] as [B, heads, n, d].

    Args:
        attention: timm's Attention.
        tensor: [B, n, heads · d].

    Example:
        >>> import torch
        >>> by_head(Attention(6, num_heads=3), torch.rand(1, 5, 6)).shape
        torch.Size([1, 3, 5, 2])
    """
    heads: int = attention.num_heads
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(tensor: Tensor) -> Tensor:
    """Return [B, heads, n, d] as [B, n, heads · d].

    Args:
        tensor: [B, heads, n, d].

    Example:
        >>> import torch
        >>> join_heads(torch.rand(1, 3, 5, 2)).shape
        torch.Size([1, 5, 6])
    """
    return tensor.transpose(1, 2).flatten(2)


def join_projected(attention: Attention, tape: BlockTape, parts: Sequence[Tensor]) -> list[Tensor]:
    """Return what belongs to queries, keys and values, laid out as `tape.projected` is.

    Args:
        attention: timm's Attention.
        tape: the block's tape.
        parts: of queries [B, heads, r, d], of keys and of values [B, heads, N, d].

    Returns:
        Tensors of the shapes of `tape.projected`.
    """
    joined = [torch.empty_like(part) for part in tape.projected]
    for slot, part in zip(_queries_keys_values(attention, joined), parts, strict=True):
        by_head(attention, slot).copy_(part)
    return joined


def _queries_keys_values(attention: Attention, projected: list[Tensor]) -> list[Tensor]:
    width = len(attention.qkv.weight) // 3
    return [part for tensor in projected for part in tensor.split(width, dim=-1)]
