"""The command `salvit explain`: how it ends, and what it prints when something is wrong."""

import io
import os
import sys
from collections.abc import Sequence

from salvit.cli.interrupt import INTERRUPTED, exit_status, importing
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
    done = "no map is done yet"
    try:
        with importing():  # heavy, and not needed for help
            from salvit.cli.failure import one_clear_error, plain_warnings
            from salvit.explain.run import Run

        with plain_warnings():
            with one_clear_error(status=2):
                run = Run(options)
            try:
                with one_clear_error():
                    failures = run.explain()
            finally:
                if run.rows():
                    done = f"what is done is in {options.out}, and the same command goes on from there"
    except (KeyboardInterrupt, SystemExit) as error:
        if exit_status(error) != INTERRUPTED:
            raise
        print(f"\nsalvit: interrupted; {done}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    if failures:
        message = f"{len(failures)} of {len(run.inputs)} images cannot be explained, the others are done:"
        print("\n  ".join([f"salvit: error: {message}", *failures]), file=sys.stderr)
        raise SystemExit(1)
