"""A model in float64."""

import copy

import torch
from torch import nn

from salvit.vit import ViT
from salvit.vit.walk import parameters_of

_WITHOUT_DOUBLE = {"mps"}  # Apple's GPUs


def require_double(vit: ViT, what: str) -> None:
    """Raise unless the model's device computes in float64.

    Args:
        vit: a plain timm ViT.
        what: what needs it, for the message.

    Raises:
        ValueError: if it does not.
    """
    device = next(vit.parameters()).device
    if device.type in _WITHOUT_DOUBLE:
        raise ValueError(
            f'{what} needs float64, which {device} does not have: take precision="model", or vit.cpu()'
        )


def in_double(vit: ViT) -> ViT:
    """Return a copy of a model whose floating-point weights are float64, or the model if they are already.

    The copy's weights take twice the memory of the model's. Hooks of the model are called by the copy as well,
    with its float64 activations.

    Args:
        vit: a plain timm ViT.

    Raises:
        ValueError: if something that the model holds cannot be copied, or a forward was replaced.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> next(in_double(vit).parameters()).dtype, next(vit.parameters()).dtype
        (torch.float64, torch.float32)
    """
    if all(parameter.dtype == torch.float64 for parameter in parameters_of(vit)):
        return vit
    replaced = [name for name, module in vit.named_modules() if "forward" in vars(module)]
    if replaced:
        raise ValueError(
            f"the forward of {replaced[0] or 'the model'} was replaced, and would run the original, not its copy in "
            'float64: take precision="model", or vit.double()'
        )
    kept: dict[int, object] = {}
    for parameter in vit.parameters():
        kept[id(parameter)] = nn.Parameter(parameter.detach().double(), requires_grad=False)
    for buffer in vit.buffers():
        if buffer.is_floating_point():
            kept[id(buffer)] = buffer.double()
    # What is in the memo already is taken as it is, so no weight is copied in its old precision first.
    for module in vit.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            kept |= {id(hook): hook for hook in hooks.values()}
    try:
        return copy.deepcopy(vit, memo=kept)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f'the model cannot be copied for float64 ({error}): take precision="model", or vit.double()'
        ) from error
