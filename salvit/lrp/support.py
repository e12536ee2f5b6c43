"""Which models the relevance rules cover."""

from typing import Any

import torch
from timm.layers import Attention, Mlp, PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from salvit.gradients import require_differentiable
from salvit.vit import ViT
from salvit.vit.blocks import computes_as_fused
from salvit.vit.tokenwise import is_activation, is_idle, is_layer_scale, is_norm, runs_as_written
from salvit.vit.walk import parameters_of


def is_standard(vit: ViT) -> bool:
    """Return whether the model is made of the parts that `salvit.lrp.standard` covers, and of nothing else.

    Hooks and replaced forwards may change what the model computes, and not every module is called there: dropout, and
    what was put in its place, is not.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> from salvit.vit import load_vit
        >>> is_standard(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32))
        True
        >>> is_standard(load_vit("vit_medium_patch16_rope_reg1_gap_256", pretrained=False, depth=1))
        False
    """
    if type(vit) not in (VisionTransformer, VisionTransformerDistilled) or not runs_as_written(vit):
        return False
    if vit.attn_pool is not None or vit.global_pool not in ("token", "avg"):
        return False
    if not all(map(is_idle, (vit.pos_drop, vit.patch_drop, vit.head_drop))):
        return False
    if not all(map(is_norm, (vit.norm_pre, vit.norm, vit.fc_norm))):
        return False
    heads = [vit.head, vit.head_dist] if isinstance(vit, VisionTransformerDistilled) else [vit.head]
    return all(type(head) is nn.Linear for head in heads) and all(map(_is_standard_block, vit.blocks))


def require_lrp_rules(vit: ViT, what: str) -> None:
    """Raise unless relevance can be propagated through the model as far as its make tells.

    An operation without a rule, in a module that is none of timm's, shows only when the model runs
    (`salvit.lrp.stock`).

    Args:
        vit: a plain timm ViT.
        what: what needs the rules, for the message.

    Raises:
        ValueError: if the classifier pools tokens in a way without a rule, the weights are of less than 32 bits or of
            several dtypes, or the model recomputes activations and is not standard.

    Example:
        >>> from salvit.vit import load_vit
        >>> require_lrp_rules(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32), "LRP")
    """
    if vit.global_pool not in ("token", "avg", "map"):
        raise ValueError(f'{what} has no relevance rule for global_pool="{vit.global_pool}"')
    dtypes = {parameter.dtype for parameter in parameters_of(vit)}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        found = " and ".join(sorted(map(str, dtypes)))
        raise ValueError(
            f"{what} needs float32 or float64 weights, and this model's are {found}: call vit.float()"
        )
    if not is_standard(vit):
        require_differentiable(vit)


def require_reading_row(vit: ViT, what: str) -> None:
    """Raise unless the classifier reads the class token, or the mean over tokens.

    Args:
        vit: a plain timm ViT.
        what: what follows the row of what is read, for the message.

    Raises:
        ValueError: if it pools by attention.

    Example:
        >>> from salvit.vit import load_vit
        >>> require_reading_row(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32), "LRP")
    """
    if vit.global_pool == "map":
        raise ValueError(
            f"{what} follows the row of the class token or of the tokens' mean, and this {type(vit).__name__} "
            'classifies from neither (global_pool="map"): use a model that does'
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
    embed: Any = getattr(vit, "patch_embed", getattr(vit, "embeds", None))
    if type(embed) is not PatchEmbed or type(embed.proj) is not nn.Conv2d or embed.dynamic_img_pad:
        raise ValueError(
            f"{what} has no relevance rule for this model's patch embedding ({type(embed).__name__}): it covers "
            "timm's PatchEmbed, one convolution without padding"
        )


def _is_standard_block(block: nn.Module) -> bool:
    if type(block) is not Block or type(block.attn) is not Attention or type(block.mlp) is not Mlp:
        return False
    attention: Any = block.attn
    mlp: Any = block.mlp
    layers: tuple[Any, ...] = (attention.qkv, attention.proj, mlp.fc1, mlp.fc2)
    scales: tuple[Any, ...] = (block.ls1, block.ls2)
    drops = (
        attention.attn_drop,
        attention.proj_drop,
        mlp.drop1,
        mlp.drop2,
        block.drop_path1,
        block.drop_path2,
    )
    norms = (block.norm1, block.norm2, attention.q_norm, attention.k_norm, attention.norm, mlp.norm)
    return (
        getattr(attention, "gate", None) is None
        and computes_as_fused(attention)
        and all(map(is_idle, drops))
        and all(map(is_norm, norms))
        and all(type(layer) is nn.Linear for layer in layers)
        and is_activation(mlp.act)
        and all(map(is_layer_scale, scales))
    )
