"""What enters modules of a model while it runs."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def inputs_of(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep the first input of each module's latest call inside the `with` block.

    Args:
        modules: whose inputs to keep; as part of the graph, where there is one.

    Yields:
        The inputs, by module; take them out to let go of them.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 3)
        >>> with inputs_of([layer]) as inputs:
        ...     _ = layer(torch.zeros(1, 2))
        >>> inputs[layer]
        tensor([[0., 0.]])
    """
    inputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
        inputs[module] = args[0]

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(keep).remove)
        yield inputs
