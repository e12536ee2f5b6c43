"""The command itself: how it ends, and what it prints when something is wrong."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from salvit.explain.parser import parse


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
            _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would report the same error then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _run(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    done = "no map is done yet"
    try:
        from salvit.cli.failure import one_clear_error, plain_warnings
        from salvit.explain.run import Run  # heavy, and not needed for help

        with plain_warnings(), ExitStack() as closing:
            with one_clear_error(status=2):
                run = Run(options, closing)
            try:
                with one_clear_error():
                    run.explain()
            finally:
                if run.rows():
                    done = f"what is done is in {options.out}, and the same command goes on from there"
    except KeyboardInterrupt:
        print(f"\nsalvit: interrupted; {done}", file=sys.stderr)
        raise SystemExit(130) from None
    if run.failures:
        images = len({row["name"] for row in run.rows()}) + len(run.failures)
        message = f"{len(run.failures)} of {images} images cannot be explained, the others are done:"
        print("\n  ".join([f"salvit: error: {message}", *run.failures]), file=sys.stderr)
        raise SystemExit(1)
