"""The command itself: what it prints when something is wrong, and how it ends."""

import sys
from collections.abc import Sequence

from salvit.explain.parser import parse


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit explain`.

    Raises:
        SystemExit: with status 2 if the command line is wrong; 1 after an error, or if images could not be read,
            although the others are done; 130 after an interrupt.
    """
    options = parse(arguments)
    try:
        from salvit.callbacks.failure import one_clear_error  # heavy, and not needed for help
        from salvit.explain.run import explain

        with one_clear_error():
            outcome = explain(options)
    except KeyboardInterrupt:
        print(f"\nsalvit: interrupted; what is done is in {options.out}", file=sys.stderr)
        raise SystemExit(130) from None
    if outcome.failures:
        number = len({row.name for row in outcome.rows}) + len(outcome.failures)
        message = f"{len(outcome.failures)} of {number} images cannot be read, the others are done:"
        print("\n  ".join([f"salvit: error: {message}", *outcome.failures]), file=sys.stderr)
        raise SystemExit(1)
