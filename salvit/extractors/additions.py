"""What a block's attention adds to the residual stream, token by token and head by head."""

from typing import Any

import torch
from timm.models import beit
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from timm.models.vision_transformer_relpos import RelPosBlock
from torch import Tensor, nn

from salvit.errors import InvalidValueError
from salvit.vit import ViT

_PRE_NORM = (Block, beit.Block, EvaBlock, RelPosBlock)


def require_additions(vit: ViT, what: str) -> None:
    """Raise unless every block's attention adds to a token a sum over the other tokens.

    Args:
        vit: a plain timm ViT.
        what: what needs it, for the message.

    Raises:
        ValueError: if a block has another form, or normalises or gates what its attention has mixed.
    """
    for index, block in enumerate(vit.blocks):
        if problem := _problem(block):
            raise InvalidValueError(
                f"{what} needs blocks whose attention adds to a token what it takes from each other one; "
                f"block {index} of this {type(vit).__name__} has {problem}"
            )


def added(block: nn.Module, values: Tensor) -> Tensor:
    """Return what each head adds of each token where it attends to nothing else: t^h_j = W_O^h v^h_j.

    Args:
        block: a block that `require_additions` lets pass; its LayerScale is part of W_O.
        values: v, [B, H, N, d].

    Returns:
        [B, N, H, D].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> added(vit.blocks[0], torch.rand(1, 3, 5, 64)).shape
        torch.Size([1, 5, 3, 192])
    """
    attention: Any = block.attn
    weight = attention.proj.weight.to(values.dtype)
    scale: Tensor | None = getattr(block, "gamma_1", getattr(getattr(block, "ls1", None), "gamma", None))
    if scale is not None:
        weight = weight * scale[:, None]
    by_head = weight.view(len(weight), values.shape[1], -1)
    return torch.einsum("bhjd,chd->bjhc", values, by_head)


def _problem(block: nn.Module) -> str:
    """What keeps a block from being a sum over tokens, or nothing."""
    if type(block) not in _PRE_NORM:
        return f"another form, {type(block).__name__}"
    attention: Any = block.attn
    if getattr(attention, "gate", None) is not None:
        return "a gate behind its attention"
    if type(getattr(attention, "norm", None)) not in (nn.Identity, type(None)):
        return "a normalisation behind its attention"
    return ""
