"""Exit status: 2 for what was typed wrong, 1 for what failed later, 130 after Ctrl-C."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
_MESSAGE = "salvit: interrupted"


def exit_status(error: BaseException) -> int:
    """The exit status after an error; 130 also if Lightning has turned Ctrl-C into `SystemExit(1)`.

    Example:
        >>> exit_status(KeyboardInterrupt()), exit_status(SystemExit(2)), exit_status(ValueError("a bug"))
        (130, 2, 1)
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if not isinstance(error, SystemExit):
        return 1
    if isinstance(error.__context__, KeyboardInterrupt):
        return INTERRUPTED
    return error.code if isinstance(error.code, int) else int(error.code is not None)


@contextmanager
def interruptible(done: Callable[[], str] = str) -> Iterator[None]:
    """Exit with status 130 and one line after Ctrl-C.

    Args:
        done: what to add to the line.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if exit_status(error) != INTERRUPTED or getattr(error, "code", None) == INTERRUPTED:
            raise
        print(f"{_MESSAGE}{done()}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def importing() -> Iterator[None]:
    """End at once after Ctrl-C: an exception within an import of torch can abort Python, or become an ImportError."""
    before = signal.signal(signal.SIGINT, _end_at_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_at_once(signal_number: int, frame: FrameType | None) -> None:
    print(_MESSAGE, file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)
