"""Models whose gradients say what a method takes them for."""

from torch import nn

from salvit.vit import ViT, require_class_token
from salvit.vit.walk import modules_of


def require_differentiable(vit: ViT) -> None:
    """Raise if the model cannot be differentiated, or recomputes its activations during the backward pass.

    Args:
        vit: a plain timm ViT.

    Raises:
        ValueError: if it has quantised layers, or gradient checkpointing is on.
    """
    require_gradients(vit)
    once = "gradients with respect to attention need its forward pass only once, and this model recomputes it"
    if getattr(vit, "grad_checkpointing", False):
        raise ValueError(f"{once}: call vit.set_grad_checkpointing(False) first")
    if any(type(module).__name__ == "CheckpointWrapper" for module in modules_of(vit)):
        raise ValueError(f"{once}: take its modules out of their CheckpointWrapper first")


def require_gradients(vit: ViT) -> None:
    """Raise if gradients do not flow through some layer: torch leaves what it adds out of them without an error.

    Args:
        vit: a plain timm ViT.

    Raises:
        ValueError: if it has layers of torch's quantised ones; the message names one.
    """
    if any(map(_is_quantised, modules_of(vit))):
        name, layer = next((name, module) for name, module in vit.named_modules() if _is_quantised(module))
        raise ValueError(
            f"gradients do not flow through quantised layers, such as {name} ({type(layer).__module__}."
            f"{type(layer).__name__}): explain the model as it was before"
        )


def require_class_readout(vit: ViT, what: str, remedy: str = "use a model that does") -> None:
    """Raise unless the model classifies from its class token.

    Args:
        vit: a plain timm ViT.
        what: what needs it, for the message.
        remedy: what to do instead, for the message.

    Raises:
        ValueError: if it has no class token, or pools other tokens.
    """
    require_class_token(vit, what, remedy)
    if vit.global_pool != "token":
        raise ValueError(
            f"{what} follows the class token's row, and this {type(vit).__name__} does not classify from its "
            f'class token (global_pool="{vit.global_pool}"): {remedy}'
        )


def _is_quantised(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.ao.", "torch.nn.quantized"))
