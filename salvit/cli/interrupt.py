"""Exit status: 2 for a wrong command line, 1 for a later error, 130 after Ctrl-C, 143 after SIGTERM."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143
_ENDS = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
_PATIENCE = 20.0  # seconds


class Terminated(SystemExit):
    """SIGTERM has come."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


def exit_status(error: BaseException) -> int:
    """The exit status after an error; that of a signal also if another error followed, in Lightning's teardown.

    Example:
        >>> exit_status(KeyboardInterrupt()), exit_status(Terminated()), exit_status(ValueError("a bug"))
        (130, 143, 1)
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt | Terminated):
            return INTERRUPTED if isinstance(cause, KeyboardInterrupt) else TERMINATED
        cause = cause.__context__
    if not isinstance(error, SystemExit):
        return 1
    return error.code if isinstance(error.code, int) else int(error.code is not None)


@contextmanager
def interruptible(done: Callable[[], str] = str) -> Iterator[None]:
    """Exit with one line, and status 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        done: returns what is added to the line.
    """
    try:
        with _on_sigterm(terminate):
            yield
    except BaseException as error:
        status = exit_status(error)
        if status not in _ENDS or isinstance(error, _Said):
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, the first
            print(f"salvit: {_ENDS[status]}{done()}", file=sys.stderr, flush=True)
        raise _Said(status) from None


class _Said(SystemExit):
    """An exit whose line has been printed already."""


def terminate(signal_number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM: raise `Terminated` where the program is; end at once if it does not end soon.

    A process that waits for another one would hang if that one has ended.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    timer = threading.Timer(_PATIENCE, os._exit, [TERMINATED])
    timer.daemon = True
    timer.start()
    raise Terminated


@contextmanager
def importing() -> Iterator[None]:
    """End at once after a signal: an exception within an import of torch can abort Python, or become an ImportError."""
    before = signal.signal(signal.SIGINT, _end_at_once)
    try:
        with _on_sigterm(_end_at_once):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _on_sigterm(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_at_once(signal_number: int, frame: FrameType | None) -> None:
    status = INTERRUPTED if signal_number == signal.SIGINT else TERMINATED
    print(f"salvit: {_ENDS[status]}", file=sys.stderr, flush=True)
    os._exit(status)
