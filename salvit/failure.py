"""What a person is told who caused an error or a warning: a sentence, not a stack of frames or a line of source."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.base import CorruptFileError, DatasetNotFoundError

_ABOUT_DATA = (CorruptFileError, DatasetNotFoundError)
_ABOUT_INPUT = (*_ABOUT_DATA, MisconfigurationException)
_OUR_CHECKS = (OSError, ValueError, TypeError, RuntimeError, IndexError)


@contextmanager
def one_clear_error(status: int = 1) -> Iterator[None]:
    """Turn errors of input into one message and an exit status; `SALVIT_TRACEBACK=1` shows the frames instead.

    Args:
        status: to exit with.

    Raises:
        SystemExit: for a missing or corrupt dataset, weights that are not there, and values that do not fit.
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

    About input are errors of this project's own checks, also where a library has wrapped them (jsonargparse
    around those of a constructor, a DataLoader around those of its workers), Lightning's of configuration, and the
    system's about a file that it names.

    Args:
        error: what was raised.

    Example:
        >>> input_error(CorruptFileError("a.jpg: truncated"))
        'a.jpg: truncated'
        >>> input_error(ValueError("a bug")) is None
        True
    """
    # That nobody reads what is printed is no error of input, nor one to print.
    cause: BaseException | None = None if isinstance(error, BrokenPipeError) else error
    while cause is not None:
        if isinstance(cause, _ABOUT_INPUT) or (isinstance(cause, _OUR_CHECKS) and _raised_here(cause)):
            return _without_workers_traceback(cause)
        if isinstance(cause, OSError) and cause.filename is not None:
            return f"{cause.strerror}: {cause.filename}"
        cause = cause.__cause__
    return None


def _raised_here(error: BaseException) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return module.partition(".")[0] in ("salvit", "datamodules")


def _without_workers_traceback(error: BaseException) -> str:
    """The message; that of an error in a DataLoader's worker comes as the worker's whole traceback."""
    return str(error).rpartition(f"\n{type(error).__module__}.{type(error).__qualname__}: ")[2].rstrip()
