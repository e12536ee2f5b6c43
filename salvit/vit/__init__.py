"""Plain timm ViTs: loading them frozen, with their own normalisation, and asking about their tokens."""

from salvit.vit.blocks import attention_modules as attention_modules
from salvit.vit.blocks import block_indices as block_indices
from salvit.vit.blocks import fused_attention as fused_attention
from salvit.vit.blocks import num_heads as num_heads
from salvit.vit.blocks import require_attention as require_attention
from salvit.vit.blocks import require_attention_maps as require_attention_maps
from salvit.vit.identity import describe_vit as describe_vit
from salvit.vit.identity import weights_hash as weights_hash
from salvit.vit.images import in_channels as in_channels
from salvit.vit.images import input_size as input_size
from salvit.vit.images import normalize as normalize
from salvit.vit.images import patch_grid as patch_grid
from salvit.vit.load import load_vit as load_vit
from salvit.vit.plain import ViT as ViT
from salvit.vit.plain import require_frozen_vit as require_frozen_vit
from salvit.vit.plain import require_plain_vit as require_plain_vit
from salvit.vit.tokens import has_class_token as has_class_token
from salvit.vit.tokens import num_classes as num_classes
from salvit.vit.tokens import num_prefix_tokens as num_prefix_tokens
from salvit.vit.tokens import reads_class_token as reads_class_token
from salvit.vit.tokens import reads_out_as_timm as reads_out_as_timm
from salvit.vit.tokens import tokens_read as tokens_read
from salvit.vit.variants import build_vit as build_vit
from salvit.vit.variants import has_residual as has_residual
