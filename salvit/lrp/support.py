"""Which models the relevance rules cover."""

import torch
from timm.layers import Attention, LayerScale, Mlp, PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from salvit.vit import ViT

_COVERED = (
    "LRP covers timm's VisionTransformer with its standard Block, Attention and Mlp, read through the class token "
    "or the tokens' mean"
)


def require_lrp_rules(vit: ViT, what: str) -> None:
    """Raise unless relevance can be propagated through every layer of the model from the logits to block 0.

    Args:
        vit: a plain timm ViT.
        what: what needs the rules, for the message.

    Raises:
        ValueError: if a layer has no rule, or the weights are of less than 32 bits; the message names the first
            such thing.

    Example:
        >>> from salvit.vit import load_vit
        >>> require_lrp_rules(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32), "LRP")
    """
    problem = _model_problem(vit) or _blocks_problem(vit)
    if problem:
        raise ValueError(f"{what} has no relevance rule for {problem}: {_COVERED}")
    dtype = next(vit.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{what} needs float32 or float64 weights, and this model's are {dtype}: call vit.float()"
        )


def require_pixel_rules(vit: ViT, what: str) -> None:
    """Raise unless relevance can also be propagated from block 0 to the pixels.

    Args:
        vit: a plain timm ViT.
        what: what needs the rules, for the message.

    Raises:
        ValueError: if the patches are not embedded by one convolution without padding.

    Example:
        >>> from salvit.vit import load_vit
        >>> require_pixel_rules(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32), "LRP")
    """
    embed = vit.patch_embed
    if type(embed) is not PatchEmbed or type(embed.proj) is not nn.Conv2d or embed.dynamic_img_pad:
        raise ValueError(
            f"{what} has no relevance rule for this model's patch embedding ({type(embed).__name__}): it covers "
            "timm's PatchEmbed, one convolution without padding"
        )


def _model_problem(vit: ViT) -> str:
    if type(vit) not in (VisionTransformer, VisionTransformerDistilled):
        return f"the parts of {type(vit).__name__}"
    if vit.attn_pool is not None or vit.global_pool not in ("token", "avg"):
        return f'global_pool="{vit.global_pool}"'
    heads = [vit.head, vit.head_dist] if isinstance(vit, VisionTransformerDistilled) else [vit.head]
    for head in heads:
        if vit.num_classes > 0 and type(head) is not nn.Linear:
            return f"the head {type(head).__name__}"
    return ""


def _blocks_problem(vit: ViT) -> str:
    for index, block in enumerate(vit.blocks):
        problem = _block_problem(block) if type(block) is Block else type(block).__name__
        if problem:
            return f"{problem} in block {index}"
    return ""


def _block_problem(block: Block) -> str:
    attention, mlp = block.attn, block.mlp
    for module, expected in ((attention, Attention), (mlp, Mlp)):
        if type(module) is not expected:
            return type(module).__name__
    if getattr(attention, "gate", None) is not None:
        return "gated attention"
    for layer in (attention.qkv, attention.proj, mlp.fc1, mlp.fc2):
        if type(layer) is not nn.Linear:
            return type(layer).__name__
    for scale in (block.ls1, block.ls2):
        if type(scale) not in (LayerScale, nn.Identity):
            return type(scale).__name__
    return ""
