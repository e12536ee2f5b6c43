"""Every module and parameter of a model, listed at the cost of a layer or two, not of a small model's forward pass."""

from torch import nn


def modules_of(model: nn.Module) -> list[nn.Module]:
    """Return what `model.modules()` yields, in its order.

    That is a generator within a generator per level, which for a ViT-B takes as long as several of its layers on a
    GPU; what looks at a model before and after each call should not.

    Args:
        model: any module.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> modules_of(model) == list(model.modules())
        True
    """
    found: dict[nn.Module, None] = {}
    ahead: list[nn.Module | None] = [model]
    while ahead:
        module = ahead.pop()
        if module is not None and module not in found:
            found[module] = None
            if module._modules:
                ahead += reversed(module._modules.values())
    return list(found)


def parameters_of(model: nn.Module) -> list[nn.Parameter]:
    """Return what `model.parameters()` yields; a parameter that several modules share comes as often as they are.

    Args:
        model: any module.

    Example:
        >>> [list(parameter.shape) for parameter in parameters_of(nn.Linear(2, 3))]
        [[3, 2], [3]]
    """
    slots = (parameter for module in modules_of(model) for parameter in module._parameters.values())
    return [parameter for parameter in slots if parameter is not None]
