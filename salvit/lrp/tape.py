"""The forward pass, keeping of every block what its relevance and gradient need.

The modules of the model are called in the order in which its own forward calls them. What the classifier does not
read is not computed: with a class token, the last block's queries and MLP are those of the class token alone.
"""

from dataclasses import dataclass

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
        query: queries before normalisation, [B, r, heads · d].
        key_value: keys before normalisation and values, [B, N, 2 · heads · d].
        mixed: heads' outputs A·V side by side, [B, r, heads · d].
        attended: output of the attention's projection, [B, r, D].
        hidden: output of the MLP's first layer, [B, r, E].
        output: output of the MLP's second layer, [B, r, D].
    """

    block: Block
    x: Tensor
    query: Tensor
    key_value: Tensor
    mixed: Tensor
    attended: Tensor
    hidden: Tensor
    output: Tensor


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
        x = after_attention(tape) + scaled(block.ls2, tape.output)
    return x, tapes


def _run_block(block: Block, x: Tensor, read: int) -> BlockTape:
    attention, mlp = block.attn, block.mlp
    normed = block.norm1(x)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    width = len(weight) // 3
    query = F.linear(normed[:, :read], weight[:width], None if bias is None else bias[:width])
    key_value = F.linear(normed, weight[width:], None if bias is None else bias[width:])
    mixed = join_heads(F.scaled_dot_product_attention(*split_heads(attention, query, key_value)))
    attended = attention.proj(attention.norm(mixed))
    hidden = mlp.fc1(block.norm2(x[:, :read] + scaled(block.ls1, attended)))
    output = mlp.fc2(mlp.norm(mlp.act(hidden)))
    return BlockTape(block, x, query, key_value, mixed, attended, hidden, output)


def after_attention(tape: BlockTape) -> Tensor:
    """Return the tokens between a block's attention and its MLP, [B, r, D].

    Args:
        tape: the block's tape.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> _, tapes = run_blocks(vit, torch.rand(1, 5, 192), start=0)
        >>> [list(after_attention(tape).shape) for tape in tapes]
        [[1, 5, 192], [1, 1, 192]]
    """
    return tape.x[:, : tape.attended.shape[1]] + scaled(tape.block.ls1, tape.attended)


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


def split_heads(attention: Attention, query: Tensor, key_value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys (both normalised, if the model does so) and values, [B, heads, ·, d] each.

    Args:
        attention: timm's Attention.
        query: [B, r, heads · d].
        key_value: [B, N, 2 · heads · d].

    Example:
        >>> import torch
        >>> attention = Attention(6, num_heads=3)
        >>> [list(part.shape) for part in split_heads(attention, torch.rand(1, 1, 6), torch.rand(1, 5, 12))]
        [[1, 3, 1, 2], [1, 3, 5, 2], [1, 3, 5, 2]]
    """
    heads: int = attention.num_heads
    key, value = key_value.chunk(2, dim=-1)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return attention.q_norm(q), attention.k_norm(k), v


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
