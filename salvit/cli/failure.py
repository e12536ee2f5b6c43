"""Errors and warnings as one sentence, without a traceback or a line of source."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from salvit.errors import SalvitError


@contextmanager
def one_clear_error(status: int = 1) -> Iterator[None]:
    """Turn a user's mistake into one message and an exit status; `SALVIT_TRACEBACK=1` shows the traceback instead.

    Args:
        status: the exit status.

    Raises:
        SystemExit: for a mistake of the user, see `input_error`.
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
    r"""Show only the message of a warning, without its line of source.

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
    """The message of an error that is a user's mistake; None for a bug, which keeps its traceback.

    Mistakes are a `SalvitError`, also inside an error of a library (of jsonargparse, or of a DataLoader's worker),
    Lightning's error of configuration, and the system's errors about a file.

    Example:
        >>> from salvit.errors import InvalidValueError
        >>> input_error(InvalidValueError("k must be at least 1"))
        'k must be at least 1'
        >>> input_error(ValueError("a bug")) is None
        True
    """
    # A closed pipe, as in `salvit test | head`, is not a mistake.
    cause: BaseException | None = None if isinstance(error, BrokenPipeError) else error
    while cause is not None:
        if isinstance(cause, SalvitError | MisconfigurationException):
            return _without_workers_traceback(cause)
        if isinstance(cause, OSError) and cause.filename is not None:
            return f"{cause.strerror}: {cause.filename}"
        cause = cause.__cause__
    return None


def _without_workers_traceback(error: BaseException) -> str:
    """The message; an error in a DataLoader's worker has the whole traceback in it."""
    return str(error).rpartition(f"\n{type(error).__module__}.{type(error).__qualname__}: ")[2].rstrip()
