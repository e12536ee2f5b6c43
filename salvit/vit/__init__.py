"""Plain timm ViTs: loading them frozen, with their own normalisation, and asking about their tokens."""

from salvit.vit.blocks import (
    attention_modules,
    block_indices,
    fused_attention,
    num_heads,
    require_attention,
    require_attention_maps,
)
from salvit.vit.identity import describe_vit, weights_hash
from salvit.vit.images import in_channels, input_size, normalize, patch_grid
from salvit.vit.load import load_vit
from salvit.vit.plain import ViT, require_frozen_vit, require_plain_vit
from salvit.vit.tokens import (
    has_class_token,
    num_classes,
    num_prefix_tokens,
    reads_class_token,
    reads_out_as_timm,
    tokens_read,
)
from salvit.vit.variants import build_vit, has_residual

__all__ = [
    "ViT",
    "attention_modules",
    "block_indices",
    "build_vit",
    "describe_vit",
    "fused_attention",
    "has_class_token",
    "has_residual",
    "in_channels",
    "input_size",
    "load_vit",
    "normalize",
    "num_classes",
    "num_heads",
    "num_prefix_tokens",
    "patch_grid",
    "reads_class_token",
    "reads_out_as_timm",
    "require_attention",
    "require_attention_maps",
    "require_frozen_vit",
    "require_plain_vit",
    "tokens_read",
    "weights_hash",
]
