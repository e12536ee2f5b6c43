"""The command `salvit explain`: how it ends, and what it prints when something is wrong."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from salvit.cli.interrupt import importing, interruptible
from salvit.explain.parser import parse


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit explain`.

    Raises:
        SystemExit: with status 2 if the command line is wrong or does not fit the model, the files or the folder, and
            nothing was computed; 1 after a later error, or if some images could not be read; 130 after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The terminal may lack the letters of a file's name.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as in `salvit explain … | head`
        # Python flushes once more when it ends, and would report the same error then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _run(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    runs: list[Any] = []

    def done() -> str:
        if any(run.rows() for run in runs):
            return f"; what is done is in {options.out}, and the same command goes on from there"
        return "; no map is done yet"

    with interruptible(done):
        with importing():  # heavy, and not needed for help
            from salvit.cli.failure import one_clear_error, plain_warnings
            from salvit.explain.run import Run
        with plain_warnings():
            with one_clear_error(status=2):
                runs.append(Run(options))
            with one_clear_error():
                runs[0].explain()
