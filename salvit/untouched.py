"""A model, and the thread that runs it, the same after a call as before it."""

import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

from salvit.hooks import is_of_this_thread
from salvit.lrp.denormals import flushing
from salvit.vit.walk import modules_of

_LOCKS: "WeakKeyDictionary[nn.Module, threading.RLock]" = WeakKeyDictionary()
_GUARD = threading.Lock()


def lock_of(model: object) -> "threading.RLock":
    """Return the lock that lets one thread at a time look into a model: hooks belong to it, not to a thread.

    Models whose first block is the same module, as two heads on one trunk, have one lock.

    Args:
        model: a ViT, or what is to be refused.
    """
    blocks = getattr(model, "blocks", None)
    trunk = blocks[0] if isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks) else model
    with _GUARD:
        return (
            _LOCKS.setdefault(trunk, threading.RLock()) if isinstance(trunk, nn.Module) else threading.RLock()
        )


def _forget_other_threads() -> None:
    """In a process that was forked while another thread held a lock, nobody is left to release it."""
    global _LOCKS, _GUARD
    _LOCKS, _GUARD = WeakKeyDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


class untouched:
    """Leave a model's hooks and fused attention, and the thread's modes, as they were, whatever happens inside.

    Contexts inside remove what they add themselves; this one also covers an interrupt that reaches them while they
    do. An interrupt may reach this one, too, in the moment before it begins to restore, so enter it twice: only
    one exit can be skipped.

    Args:
        model: any module.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> with untouched(model) as guard, guard:
        ...     _ = model.register_forward_hook(print)
        >>> len(model._forward_hooks)
        0
    """

    def __init__(self, model: nn.Module) -> None:
        self.handling = sys.exc_info()[1]
        self.grad = torch.is_grad_enabled()
        self.flushing = flushing()
        self.function_modes = _get_current_function_mode_stack()
        self.modules = modules_of(model)
        self.fused = [_fused(module) for module in self.modules]
        # Most modules have none, which costs less to see than to copy.
        self.hooks = {
            module: (dict(module._forward_pre_hooks), dict(module._forward_hooks))
            for module in self.modules
            if module._forward_pre_hooks or module._forward_hooks
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        interrupt = _interrupt_behind(error, self.handling)
        if interrupt is not None:
            # Guards of gradient modes may still live in the frames that were left, and undo what is restored here.
            traceback.clear_frames(interrupt.__traceback__)
            traceback.clear_frames(frames)
        self._restore()
        if interrupt is not None and interrupt is not error:
            raise interrupt from None

    def _restore(self) -> None:
        for module, fused in zip(self.modules, self.fused, strict=True):
            if module._forward_pre_hooks or module._forward_hooks:
                pre_hooks, hooks = self.hooks.get(module, ({}, {}))
                _keep(module._forward_pre_hooks, pre_hooks, module._forward_pre_hooks_with_kwargs)
                _keep(
                    module._forward_hooks,
                    hooks,
                    module._forward_hooks_with_kwargs,
                    module._forward_hooks_always_called,
                )
            if fused is not _fused(module):
                module.fused_attn = fused
        if _get_current_function_mode_stack() != self.function_modes:
            while _get_current_function_mode_stack():
                _pop_mode()
            for mode in self.function_modes:
                _push_mode(mode)
        torch.set_flush_denormal(self.flushing)
        torch.set_grad_enabled(self.grad)


def _fused(module: nn.Module) -> Any:
    return vars(module).get("fused_attn")


def _keep(hooks: dict[int, Any], before: dict[int, Any], *flags: dict[int, bool]) -> None:
    """Take out what was added, but not what a hook of the user put in its own place, nor another thread's."""
    if len(hooks) != len(before):
        for key in hooks.keys() - before.keys():
            if is_of_this_thread(hooks[key]):
                del hooks[key]
                for flag in flags:
                    flag.pop(key, None)


def _interrupt_behind(error: BaseException | None, handled: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that an error is, or came of, as when a mode no longer finds itself on torch's stack.

    One that was being handled before, in whose `except` or `finally` the error was raised, is not it.
    """
    while error is not None and error is not handled:
        if isinstance(error, KeyboardInterrupt):
            return error
        error = error.__context__
    return None
