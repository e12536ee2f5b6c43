"""The command itself: what it prints when something is wrong, and how it ends."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from salvit.explain.parser import Options, parse

if TYPE_CHECKING:
    from salvit.explain.run import Run


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit explain`.

    Raises:
        SystemExit: with status 2 if the command line is wrong or does not fit the model, the files or the folder, and
            nothing was computed; 1 after an error later, or if images could not be read, although the others are done,
            or if nobody reads the output any more; 130 after an interrupt.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files and classes need not be in the terminal's alphabet.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            _run(parse(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would report the same error then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _run(options: Options) -> None:
    run: Run | None = None
    try:
        from salvit.explain.run import explain, prepare
        from salvit.failure import one_clear_error, plain_warnings  # heavy, and not needed for help

        with plain_warnings(), ExitStack() as closing:
            with one_clear_error(status=2):
                run = prepare(options, closing)
            with one_clear_error():
                explain(run)
    except KeyboardInterrupt:
        print(f"\nsalvit: interrupted; {_state(run)}", file=sys.stderr)
        raise SystemExit(130) from None
    if run.failures:
        number = len({row.name for row in run.rows}) + len(run.failures)
        message = f"{len(run.failures)} of {number} images cannot be explained, the others are done:"
        print("\n  ".join([f"salvit: error: {message}", *run.failures]), file=sys.stderr)
        raise SystemExit(1)


def _state(run: "Run | None") -> str:
    if run is None or not run.rows:
        return "no map is done yet"
    return f"what is done is in {run.options.out}, and the same command goes on from there"
