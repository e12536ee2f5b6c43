"""What enters and leaves modules of a model while it runs."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def hooked(*handles: Any) -> Iterator[None]:
    """Remove hooks at the end of the `with` block, also after an error.

    Args:
        handles: what registering the hooks returned.

    Example:
        >>> layer = nn.Identity()
        >>> with hooked(layer.register_forward_hook(lambda module, args, output: output + 1)):
        ...     inside = layer(0)
        >>> inside, layer(0)
        (1, 0)
    """
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def inputs_of(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep the first input of each module's latest call inside the `with` block.

    Args:
        modules: whose inputs to keep; as part of the graph, where there is one.

    Yields:
        The inputs, by module; take them out to free their memory.

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
            stack.enter_context(hooked(module.register_forward_pre_hook(keep)))
        yield inputs


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep the output of each module's latest call inside the `with` block.

    Args:
        modules: whose outputs to keep; as part of the graph, where there is one.

    Yields:
        The outputs, by module, in the order of the calls.

    Example:
        >>> import torch
        >>> layer = nn.ReLU()
        >>> with outputs_of([layer]) as outputs:
        ...     _ = layer(torch.tensor([-1.0]))
        >>> outputs[layer]
        tensor([0.])
    """
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        outputs[module] = output

    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(hooked(module.register_forward_hook(keep)))
        yield outputs
