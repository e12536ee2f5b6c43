"""What a block's attention adds to the residual stream, token by token and head by head."""

from typing import Any

import torch
from timm.models import beit
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from timm.models.vision_transformer_relpos import RelPosBlock
from torch import Tensor, nn

from salvit.hooks import is_salvits
from salvit.vit import ViT
from salvit.vit.tokenwise import has_hooks_of_all, is_altered, is_idle, is_layer_scale, is_patched

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
            raise ValueError(
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
    if (scale := _layer_scale(block)) is not None:
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
    if not type(attention).__module__.startswith("timm."):
        return f"attention that is not timm's, {type(attention).__name__}"
    if type(attention.proj).forward is not nn.Linear.forward:
        return f"another layer than a linear one behind its attention, {type(attention.proj).__name__}"
    if not all(map(is_idle, (attention.attn_drop, attention.proj_drop, block.drop_path1))):
        return "something else in the place of a dropout behind its attention"
    scale: Any = getattr(block, "ls1", None)
    if not is_layer_scale(scale):
        return f"a layer scale that is not timm's, {type(scale).__name__}"
    kind: Any = type(block)
    if is_patched(kind, kind.forward):
        return "a replaced forward"
    if has_hooks_of_all():
        return "hooks of all modules around it, which may change it"
    # A recording around this one leaves every value as it is; of other hooks, who knows.
    if any(is_altered(module, counts=lambda hook: not is_salvits(hook)) for module in _behind_values(block)):
        return "a hook on its attention or on a layer behind it, which may change it, or a replaced forward"
    return ""


def _behind_values(block: nn.Module) -> list[nn.Module]:
    """The modules that a block's values come through on their way into the residual stream."""
    attention: Any = block.attn
    behind = [getattr(block, name, None) for name in ("ls1", "drop_path1")]
    behind += [getattr(attention, name, None) for name in ("attn_drop", "proj", "proj_drop")]
    return [attention, *(module for module in behind if module is not None)]


def _layer_scale(block: nn.Module) -> Tensor | None:
    scale: Tensor | None = getattr(block, "gamma_1", getattr(getattr(block, "ls1", None), "gamma", None))
    return scale
