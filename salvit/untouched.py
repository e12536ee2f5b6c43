"""A model that is the same after a call as before it, and in use by one thread at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_LOCKS: "WeakKeyDictionary[nn.Module, threading.RLock]" = WeakKeyDictionary()
_GUARD = threading.Lock()


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leave hooks, fused attention and grad mode as they were, whatever happens in the `with` block.

    Contexts inside remove what they add themselves; this one also covers an interrupt that reaches them while they
    do. Threads that share the model wait for each other: hooks belong to the model, not to a thread.

    Args:
        model: any module.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> with untouched(model):
        ...     _ = model.register_forward_hook(print)
        >>> len(model._forward_hooks)
        0
    """
    with _GUARD:
        lock = _LOCKS.setdefault(model, threading.RLock())
    with lock:
        grad = torch.is_grad_enabled()
        before = [
            (
                module,
                dict(module._forward_pre_hooks),
                dict(module._forward_hooks),
                vars(module).get("fused_attn"),
            )
            for module in model.modules()
        ]
        try:
            yield
        finally:
            for module, pre_hooks, hooks, fused in before:
                if len(module._forward_pre_hooks) != len(pre_hooks):
                    _keep(module._forward_pre_hooks, pre_hooks)
                if len(module._forward_hooks) != len(hooks):
                    _keep(module._forward_hooks, hooks)
                if vars(module).get("fused_attn") != fused:
                    module.fused_attn = fused  # type: ignore[assignment]
            torch.set_grad_enabled(grad)


def _keep(hooks: dict[int, Any], before: dict[int, Any]) -> None:
    for key in hooks.keys() - before.keys():
        del hooks[key]
