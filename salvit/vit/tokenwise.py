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
# In eval mode they do nothing; they are not called where that saves time.
_IDLE = frozenset(
    {f"torch.nn.modules.{name}" for name in ("dropout.Dropout", "linear.Identity")}
    | {"timm.layers.drop.DropPath", "timm.layers.patch_dropout.PatchDropout"}
)
_ACTIVATIONS = frozenset({"torch.nn.modules.activation", "timm.layers.activations"})
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
        runs_as_written(vit)
        and type(vit).__module__.startswith("timm.models.")
        and is_norm(vit.norm)
        and all(_is_known(module) for module in modules_of(vit.blocks))
        and not _shares(vit.blocks)
    )


def runs_as_written(vit: ViT) -> bool:
    """Return whether nothing but the methods of its modules' classes has a say in what a model computes.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> before = runs_as_written(vit)
        >>> vit.norm.forward = lambda tokens: tokens
        >>> before, runs_as_written(vit)
        (True, False)
    """
    return not has_hooks_of_all() and not any(map(is_altered, modules_of(vit)))


def has_hooks_of_all() -> bool:
    """Return whether there are hooks that torch calls with every module."""
    return any(getattr(hooks_of_all, f"_global{hooks}") for hooks in _HOOKS)


def is_altered(
    module: nn.Module, counts: Callable[[Callable[..., Any]], bool] = may_change_what_is_computed
) -> bool:
    """Return whether a module has hooks, methods other than those of its class, or a class whose forward was replaced.

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
    return any(map(counts, hooks)) or not _methods(kind).isdisjoint(own) or is_patched(kind, kind.forward)


@cache
def is_patched(kind: type, forward: Callable[..., Any]) -> bool:
    """Return whether a forward is another than that which a class, or the one it has it from, was written with.

    Args:
        kind: of a module.
        forward: its forward, as it is now.

    Example:
        >>> is_patched(nn.ReLU, nn.ReLU.forward), is_patched(nn.ReLU, lambda self, x: x)
        (False, True)
    """
    written = next(above for above in kind.__mro__ if "forward" in vars(above))
    # Not by its `__module__`, which functools.wraps copies.
    return getattr(forward, "__globals__", {}).get("__name__") != written.__module__


def is_idle(module: nn.Module | None) -> bool:
    """Return whether a module does nothing in eval mode: dropout of torch's or timm's, or none.

    Args:
        module: any, or None.

    Example:
        >>> is_idle(nn.Dropout(0.5)), is_idle(nn.Linear(2, 2))
        (True, False)
    """
    return module is None or _name(module) in _IDLE


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalisation that is known to treat each token by itself, or none.

    Args:
        module: any.

    Example:
        >>> is_norm(nn.LayerNorm(2)), is_norm(nn.GroupNorm(1, 2))
        (True, False)
    """
    return _name(module) in _NORMS or type(module) is nn.Identity


def is_layer_scale(module: nn.Module | None) -> bool:
    """Return whether a module is timm's LayerScale, or there is none in its place.

    Args:
        module: any, or None.

    Example:
        >>> from timm.layers import LayerScale
        >>> is_layer_scale(LayerScale(2)), is_layer_scale(nn.Linear(2, 2))
        (True, False)
    """
    kind = type(module)
    # By name: in timm 1.0.16 some models have one of their own, which is written alike.
    is_timms = kind.__name__ == "LayerScale" and kind.__module__.startswith("timm.")
    return is_timms or module is None or kind is nn.Identity


def is_activation(module: nn.Module) -> bool:
    """Return whether a module is one of torch's or timm's activation functions, or none.

    Args:
        module: any.

    Example:
        >>> is_activation(nn.GELU()), is_activation(nn.Linear(2, 2))
        (True, False)
    """
    return type(module).__module__ in _ACTIVATIONS or type(module) is nn.Identity


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
