"""Variants of timm's plain ViT, to train from scratch: fixed positions, no residual connections, no LayerNorm."""

from typing import Any

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from salvit.errors import InvalidValueError

LEARNED = ("learn", "none")
"""timm's own position embeddings: learned, or none."""


class BlockWithoutResidual(Block):
    """timm's pre-norm block without its two residual connections: x ← MLP(norm(attention(norm(x))))."""

    def forward(self, x: Tensor, **masks: Any) -> Tensor:
        """Send tokens [B, N, D] through attention and MLP."""
        x = self.ls1(self.attn(self.norm1(x), **masks))
        tokens: Tensor = self.ls2(self.mlp(self.norm2(x)))
        return tokens


def has_residual(block: nn.Module) -> bool:
    """Return whether a block adds its input to what its attention and its MLP compute; all of timm's own do."""
    return not isinstance(block, BlockWithoutResidual)


def sincos(tokens: int, width: int) -> Tensor:
    """Sines and cosines of the token's index i: float32 [tokens, width].

    Channel 2k is sin(i / 10000^(2k / width)), channel 2k + 1 the cosine of the same angle. Source: Vaswani et al.,
    "Attention Is All You Need", 2017, section 3.5.

    Example:
        >>> sincos(2, 4)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    channel = torch.arange(width)
    index = torch.arange(tokens, dtype=torch.float64)[:, None]
    angle = index / 10000 ** (channel // 2 * 2 / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


def integer(tokens: int, width: int) -> Tensor:
    """The token's index in every channel: float32 [tokens, width]. Any LayerNorm takes it out of the token again.

    Example:
        >>> integer(3, 2)
        tensor([[0., 0.],
                [1., 1.],
                [2., 2.]])
    """
    return torch.arange(tokens, dtype=torch.float32)[:, None].repeat(1, width)


FIXED = {"sincos": sincos, "integer": integer}
"""Position encodings that are not trained, by name."""


def build_vit(
    *, pos_embed: str = "learn", residual: bool = True, norm: bool = True, **options: Any
) -> VisionTransformer:
    """Build a plain ViT with random weights, or a variant of it.

    The variants are those of Agrawal, Dayton and Dauber, "Visualizing Attention in Vision Transformers" (poster).

    Args:
        pos_embed: "learn", "none", or a fixed encoding of the token's index, the class token being token 0: "sincos" or
            "integer". Fixed encodings are a buffer of the model: they are saved with it, and never trained.
        residual: False for blocks that do not add their input.
        norm: False for a model without any LayerNorm, also before the classifier.
        **options: of `timm.models.vision_transformer.VisionTransformer`. `embed_dim` is the width of the whole token,
            of which each head has `embed_dim / num_heads` channels.

    Raises:
        ValueError: if there is no such encoding, or the heads do not divide the width.
        TypeError: if timm's model has no such option.

    Example:
        >>> vit = build_vit(img_size=64, patch_size=8, embed_dim=8, depth=4, num_heads=4, pos_embed="sincos")
        >>> vit.pos_embed.shape, vit.pos_embed.requires_grad
        (torch.Size([1, 65, 8]), False)
    """
    if pos_embed not in (choices := (*LEARNED, *FIXED)):
        raise InvalidValueError(f"pos_embed must be one of {', '.join(choices)}; got {pos_embed!r}")
    width, heads = options.get("embed_dim", 768), options.get("num_heads", 12)
    if width % heads:
        raise InvalidValueError(
            f"num_heads={heads} does not divide embed_dim={width}, the width of the whole token"
        )
    if not residual:
        options["block_fn"] = BlockWithoutResidual
    if not norm:
        options["norm_layer"] = nn.Identity
    vit = VisionTransformer(pos_embed="learn" if pos_embed in FIXED else pos_embed, **options)
    if pos_embed in FIXED:
        table = FIXED[pos_embed](*vit.pos_embed.shape[1:])
        del vit.pos_embed
        vit.register_buffer("pos_embed", table[None])
    return vit
