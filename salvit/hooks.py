"""What enters and leaves modules of a model while it runs, and hooks that only one thread sees."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

_Result = TypeVar("_Result")


def in_this_thread(hook: Callable[..., _Result]) -> Callable[..., _Result | None]:
    """Let a hook act only when the model runs in the thread that made it.

    Hooks belong to a module, so that one registered for an extraction would also meet what another thread computes
    with the same model at the same time.

    Args:
        hook: of a module.

    Example:
        >>> layer = nn.Identity()
        >>> handle = layer.register_forward_hook(in_this_thread(lambda module, args, output: output + 1))
        >>> worker = threading.Thread(target=lambda: print(layer(0)))
        >>> layer(0), worker.start(), worker.join()
        0
        (1, None, None)
    """
    return _Guarded(hook, threading.get_ident())


class _Guarded(Generic[_Result]):
    def __init__(self, hook: Callable[..., _Result], owner: int, watches: bool = False) -> None:
        self.hook = hook
        self.owner = owner
        self.watches = watches  # when passes begin and end, and nothing in them

    def __call__(self, *args: Any) -> _Result | None:
        return self.hook(*args) if threading.get_ident() == self.owner else None


def is_of_this_thread(hook: Callable[..., Any]) -> bool:
    """Whether a hook may be this thread's: it is not one that was made `in_this_thread` of another.

    Args:
        hook: of a module.
    """
    return not isinstance(hook, _Guarded) or hook.owner == threading.get_ident()


def is_salvits(hook: Callable[..., Any]) -> bool:
    """Whether a hook is one of salvit's, none of which changes a value.

    Args:
        hook: of a module.
    """
    return isinstance(hook, _Guarded)


def may_change_what_is_computed(hook: Callable[..., Any]) -> bool:
    """Whether a hook may change what this thread computes, or is to see all of it.

    Neither is one of another thread's, nor one that only counts passes.

    Args:
        hook: of a module.
    """
    return is_of_this_thread(hook) and not getattr(hook, "watches", False)


@contextmanager
def one_pass_at_a_time(model: nn.Module, parts: Iterable[nn.Module]) -> Iterator[None]:
    """Refuse, in this thread and inside the `with` block, that a hook runs the model whose pass called the hook.

    What is kept of a pass, by module, would be that of the pass within.

    Args:
        model: any module.
        parts: of it, that run once in every pass; how often they do tells of passes that do not begin at the model.

    Raises:
        RuntimeError: where the model runs within its own pass.

    Example:
        >>> layer = nn.Sequential(nn.Identity(), nn.Identity())
        >>> handle = layer[1].register_forward_hook(lambda module, args, output: layer(output))
        >>> with one_pass_at_a_time(layer, [layer[0]]):
        ...     layer(0)
        Traceback (most recent call last):
            ...
        RuntimeError: a hook of this Sequential runs it anew while its maps are extracted: take the hook out, or give \
it a copy of the model to run
    """
    passes, entered = 0, set[nn.Module]()

    def refuse() -> None:
        raise RuntimeError(
            f"a hook of this {type(model).__name__} runs it anew while its maps are extracted: take the hook out, or "
            "give it a copy of the model to run"
        )

    def begin(module: nn.Module, args: Any) -> None:
        nonlocal passes
        passes += 1
        if passes > 1:
            refuse()
        entered.clear()

    def enter(module: nn.Module, args: Any) -> None:
        if passes and module in entered:
            refuse()
        entered.add(module)

    def end(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal passes
        passes -= 1

    with ExitStack() as stack:
        # A copy made of the model inside has these hooks, too, and would be kept by them until Python collects it.
        stack.callback(entered.clear)
        stack.callback(model.register_forward_pre_hook(_watching(begin)).remove)
        for part in parts:
            stack.callback(part.register_forward_pre_hook(_watching(enter)).remove)
        stack.callback(model.register_forward_hook(_watching(end), always_call=True).remove)
        yield


def _watching(hook: Callable[..., None]) -> _Guarded[None]:
    return _Guarded(hook, threading.get_ident(), watches=True)


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
            stack.callback(module.register_forward_pre_hook(in_this_thread(keep)).remove)
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
            stack.callback(module.register_forward_hook(in_this_thread(keep)).remove)
        yield outputs
