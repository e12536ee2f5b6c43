"""What status a process ends with: 2 for what was typed wrong, 1 for what failed, 130 after Ctrl-C."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130


def exit_status(error: BaseException) -> int:
    """The status that a process ends with after an error.

    Args:
        error: what was raised; Lightning exits with 1 when it has caught Ctrl-C.

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
def interruptible() -> Iterator[None]:
    """Exit with status 130 after Ctrl-C, with one line instead of a traceback.

    Raises:
        SystemExit: with 130, also where Lightning exits with 1.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if exit_status(error) != INTERRUPTED or getattr(error, "code", None) == INTERRUPTED:
            raise
        print("salvit: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
