"""Gradients of single functions, whatever the gradient mode around them."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Pullback: TypeAlias = Callable[[Tensor], Tensor]


def vjp(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Pullback]:
    """Return f(x) and the map that takes a gradient of f(x) to the gradient of x.

    Args:
        function: f, any differentiable function or module; no gradient reaches its parameters.
        x: a tensor.

    Example:
        >>> y, pull = vjp(torch.square, torch.tensor(3.0))
        >>> y, pull(torch.tensor(1.0))
        (tensor(9.), tensor(6.))
    """
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        output = function(leaf)
    return output.detach(), lambda gradient: torch.autograd.grad(output, leaf, gradient)[0]
