"""Models whose tokens meet in attention alone, so that some of them can be sent through a block without the others."""

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn
from torch.nn.modules import module as hooks_of_all

from salvit.hooks import may_change_what_is_computed
from salvit.vit.plain import ViT
from salvit.vit.walk import modules_of

# By name, as not every timm has them all. Its other norms and MLPs may look across tokens, as GroupNorm does.
_NORMS = frozenset(
    {
        f"timm.layers.norm.{name}{kind}"
        for name in ("LayerNorm", "RmsNorm", "SimpleNorm")
        for kind in ("", "Fp32")
    }
    | {f"torch.nn.modules.normalization.{name}" for name in ("LayerNorm", "RMSNorm")}
)
_MLPS = frozenset(
    {f"timm.layers.mlp.{name}" for name in ("Mlp", "GluMlp", "SwiGLU")} | {"timm.models.vitamin.GeGluMlp"}
)
_FILES = frozenset(
    {f"timm.layers.{name}" for name in ("activations", "attention", "drop", "layer_scale", "pos_embed_rel")}
    | {f"timm.models.{name}" for name in ("beit", "eva", "vision_transformer", "vision_transformer_relpos")}
    | {f"torch.nn.modules.{name}" for name in ("activation", "container", "dropout", "linear")}
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def tokens_meet_in_attention_alone(vit: ViT) -> bool:
    """Return whether the model is made of parts of timm's that are known to send each token its own way.

    Only then does the class token, given the attention and the values of a whole pass, come through the blocks alone
    as it does among the others, and to the classifier as the model's own forward would bring it. What of timm's is
    derived from, hooked or replaced may do anything.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32)
        >>> tokens_meet_in_attention_alone(vit)
        True
        >>> handle = vit.blocks[0].register_forward_hook(lambda block, args, tokens: tokens - tokens.mean(1, True))
        >>> tokens_meet_in_attention_alone(vit)
        False
    """
    return (
        not any(getattr(hooks_of_all, f"_global{hooks}") for hooks in _HOOKS)
        and not any(map(is_altered, modules_of(vit)))
        and type(vit).__module__.startswith("timm.models.")
        and (_name(vit.norm) in _NORMS or type(vit.norm) is nn.Identity)
        and all(_is_known(module) for module in modules_of(vit.blocks))
        and not _shares(vit.blocks)
    )


def is_altered(
    module: nn.Module, counts: Callable[[Callable[..., Any]], bool] = may_change_what_is_computed
) -> bool:
    """Return whether a module has hooks, or methods other than those of its class.

    Args:
        module: any; its parts are not looked at.
        counts: which hooks count.

    Example:
        >>> import torch
        >>> layer = nn.ReLU()
        >>> before = is_altered(layer)
        >>> layer.forward = torch.sigmoid
        >>> before, is_altered(layer)
        (False, True)
    """
    own: dict[str, Any] = vars(module)
    kind: Any = type(module)
    hooks = (hook for kinds in _HOOKS if own[kinds] for hook in tuple(own[kinds].values()))
    return any(map(counts, hooks)) or not _methods(kind).isdisjoint(own)


def _shares(blocks: nn.Module) -> bool:
    """Whether a weight or a module is in several places: what is left out in one would be in the other, too."""
    modules = modules_of(blocks)
    weights = [id(part) for module in modules for part in module._parameters.values() if part is not None]
    parts = [id(part) for module in modules for part in module._modules.values() if part is not None]
    return len(set(weights)) < len(weights) or len(set(parts)) < len(parts)


@cache
def _methods(kind: type) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name, None)))


def _is_known(module: nn.Module) -> bool:
    known = type(module).__module__ in _FILES or _name(module) in _NORMS or _name(module) in _MLPS
    # A gate behind the attention reads the attention's input once more.
    return known and module._modules.get("gate") is None


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
