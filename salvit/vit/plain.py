"""What is a plain ViT: one of timm's whose blocks all attend over one sequence of tokens."""

import difflib
from collections.abc import Callable
from typing import Any, TypeAlias

import timm
from timm.models import is_model_in_modules, model_entrypoint
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn

from salvit.errors import InvalidTypeError, InvalidValueError

ViT: TypeAlias = VisionTransformer | VisionTransformerRelPos | Beit | Eva | NaFlexVit
TIMM_MODULES = (
    "beit",
    "deit",
    "eva",
    "naflexvit",
    "vision_transformer",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vitamin",
)
_NO_MAP = "hierarchical, convolutional and MLP models have no one attention map over all patches per block"
_MULTIMODAL = (
    "it is the image part of a language model, whose blocks timm puts into an encoder of its own form"
)
# By timm's module: what keeps those from being plain whose blocks do not shrink the grid.
_NOT_PLAIN = {
    "cait": "CaiT's patches and class token attend in blocks of different kinds, with heads mixed after the softmax",
    "convit": "ConViT mixes attention with a learned map of positions in most of its blocks",
    "crossvit": "CrossViT has two streams of patches of different sizes",
    "deepseek_vit": _MULTIMODAL,
    "gemma4_vit": _MULTIMODAL,
    "qwen3_vit": _MULTIMODAL,
    "tnt": "TNT attends among the pixels of each patch beside attending among patches",
    "vision_transformer_sam": "SAM's image encoder attends within windows in most of its blocks",
    "xcit": "XCiT attends among channels, not among patches",
}


def require_plain_name(name: str) -> None:
    """Raise ValueError unless a name, with or without tag, is that of a plain ViT of timm's that has such weights."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models(module=list(TIMM_MODULES))
        close = difflib.get_close_matches(architecture, [*known, "salvit_tiny"], n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; see timm.list_models()"
        raise InvalidValueError(f'no timm model "{name}"{hint}')
    if not is_model_in_modules(architecture, TIMM_MODULES):
        raise InvalidValueError(
            f'"{name}" is not a plain ViT: {_reason(model_entrypoint(architecture))}; take one such as '
            "vit_base_patch16_224.dino"
        )
    tags = [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise InvalidValueError(
            f'no pretrained weights "{tag}" of {architecture}; there are: {", ".join(tags) or "none"}'
        )


def require_plain_vit(vit: ViT) -> ViT:
    """Return the model if it is a plain timm ViT.

    Raises:
        TypeError: if it is compiled, hierarchical, or no timm ViT at all.
    """
    if isinstance(vit, nn.Module) and any(map(_is_compiled, vit.modules())):
        raise InvalidTypeError(
            "a compiled model cannot be looked into: pass the model as it was before torch.compile"
        )
    if not isinstance(vit, ViT):
        parts = vit.named_modules() if isinstance(vit, nn.Module) else ()  # PEFT wraps twice
        for name, module in parts:
            if isinstance(module, ViT):
                part = "".join(f"[{key}]" if key.isdecimal() else f".{key}" for key in name.split("."))
                raise InvalidTypeError(
                    f"{type(vit).__name__} is the wrapper of a plain timm ViT: pass its {part}"
                )
        raise InvalidTypeError(
            f"{type(vit).__name__} is not a plain timm ViT (timm's VisionTransformer, VisionTransformerRelPos, "
            f"Beit, Eva or NaFlexVit): {_reason(type(vit))}; load one with load_vit"
        )
    return vit


def require_frozen_vit(vit: ViT) -> None:
    """Raise unless the model is a plain timm ViT in eval mode.

    Raises:
        TypeError: if it is not a plain timm ViT, or is compiled.
        ValueError: if it or a part of it is in training mode.
    """
    require_plain_vit(vit)
    if any(module.training for module in vit.modules()):
        raise InvalidValueError(
            "the model is in training mode, where dropout makes maps random: call vit.eval() first"
        )


def _reason(model: Callable[..., Any]) -> str:
    if not model.__module__.startswith("timm."):
        return "salvit knows timm's alone"
    return _NOT_PLAIN.get(model.__module__.rpartition(".")[2], _NO_MAP)


def _is_compiled(module: nn.Module) -> bool:
    """Whether it is the wrapper that torch.compile makes, or was compiled in place."""
    return hasattr(module, "_orig_mod") or vars(module).get("_compiled_call_impl") is not None
