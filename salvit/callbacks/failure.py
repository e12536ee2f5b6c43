"""Errors that a person caused end in one sentence, not in a stack of frames."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from datamodules.errors import CorruptFileError, DatasetNotFoundError


@contextmanager
def one_clear_error() -> Iterator[None]:
    """Turn errors of input into one message and exit status 1; `SALVIT_TRACEBACK=1` shows the frames instead.

    Raises:
        SystemExit: for a missing or corrupt dataset, weights that are not there, and values that do not fit.
    """
    try:
        yield
    except (
        CorruptFileError,
        DatasetNotFoundError,
        FileNotFoundError,
        ValueError,
        RuntimeError,
        IndexError,
    ) as error:
        if os.environ.get("SALVIT_TRACEBACK") == "1" or not _is_about_input(error):
            raise
        print(f"salvit: error: {error}\n(SALVIT_TRACEBACK=1 shows where.)", file=sys.stderr)
        raise SystemExit(1) from error


def _is_about_input(error: Exception) -> bool:
    """Errors raised by this project's own checks; anything else is a bug and keeps its frames."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return module.partition(".")[0] in ("salvit", "datamodules")
