"""What a person is told who caused an error or a warning: a sentence, not a stack of frames or a line of source."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from salvit.errors import SalvitError


@contextmanager
def one_clear_error(status: int = 1) -> Iterator[None]:
    """Turn errors of input into one message and an exit status; `SALVIT_TRACEBACK=1` shows the frames instead.

    Args:
        status: to exit with.

    Raises:
        SystemExit: for an error that the user can mend, see `input_error`.
    """
    try:
        yield
    except Exception as error:
        message = input_error(error)
        if message is None or os.environ.get("SALVIT_TRACEBACK") == "1":
            raise
        print(f"salvit: error: {message}\n(SALVIT_TRACEBACK=1 shows where.)", file=sys.stderr)
        raise SystemExit(status) from error


@contextmanager
def plain_warnings() -> Iterator[None]:
    r"""Show warnings as what they say, without the line of source that they come from.

    Example:
        >>> with plain_warnings():
        ...     warnings.formatwarning("no classifier head", UserWarning, "task.py", 106)
        'warning: no classifier head\n'
    """
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def input_error(error: BaseException) -> str | None:
    """What is wrong with the input, or None if the error is not about it: then it is a bug, and keeps its frames.

    About input are a `SalvitError`, also where a library has wrapped it (jsonargparse around that of a constructor, a
    DataLoader around that of a worker), Lightning's error of configuration, and the system's about a file.

    Args:
        error: what was raised.

    Example:
        >>> from salvit.errors import InvalidValueError
        >>> input_error(InvalidValueError("k must be at least 1"))
        'k must be at least 1'
        >>> input_error(ValueError("a bug")) is None
        True
    """
    # A closed pipe, as in `salvit test | head`, is no error of input.
    cause: BaseException | None = None if isinstance(error, BrokenPipeError) else error
    while cause is not None:
        if isinstance(cause, SalvitError | MisconfigurationException):
            return _without_workers_traceback(cause)
        if isinstance(cause, OSError) and cause.filename is not None:
            return f"{cause.strerror}: {cause.filename}"
        cause = cause.__cause__
    return None


def _without_workers_traceback(error: BaseException) -> str:
    """The message; that of an error in a DataLoader's worker comes as the worker's whole traceback."""
    return str(error).rpartition(f"\n{type(error).__module__}.{type(error).__qualname__}: ")[2].rstrip()
