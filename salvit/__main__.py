"""`salvit`, `lightning` and `python -m salvit`; help is answered before anything heavy is imported."""

import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from salvit import __version__
from salvit.cli.interrupt import importing, interruptible
from salvit.cli.quiet import take_quiet
from salvit.cli.usage import COMMANDS, command_page, program_page

OWN_PARSER = {
    "explain": "salvit.explain.command",
    "report": "salvit.report.command",
    "sweep": "salvit.cli.sweep",
    "cache": "salvit.cache.command",
    "doctor": "salvit.cli.doctor",
}
"""Commands that Lightning does not run, and the module whose `main` takes their options."""


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line.

    Args:
        args: what was typed after the program's name; `sys.argv` by default.

    Raises:
        SystemExit: with status 2 if the command line is wrong, 1 after an error later, 130 after Ctrl-C,
            143 after SIGTERM.

    Example:
        >>> main(["--version"])
        salvit 0.1.0
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # for classes of the user, as with `python -m salvit`
    with interruptible():
        _dispatch(take_quiet(sys.argv[1:] if args is None else args))


def _dispatch(arguments: list[str]) -> None:
    command, *options = arguments or ["--help"]
    if command in ("-h", "--help"):
        print(program_page(), end="")
    elif arguments == ["--version"]:
        print(f"salvit {__version__}")
    elif command in OWN_PARSER:
        importlib.import_module(OWN_PARSER[command]).main(options)
    elif command in COMMANDS and {"-h", "--help"} & set(options):
        print(command_page(command), end="")
    elif command in COMMANDS or command.startswith("-"):
        with importing():
            from salvit.cli.command import run

        run(["--help" if argument == "--help_all" else argument for argument in arguments])
    else:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        print(
            f"salvit: error: no command {command!r}{hint}\ncommands: {', '.join(COMMANDS)}\n"
            "(`salvit --help` describes them.)",
            file=sys.stderr,
        )
        raise SystemExit(2)


if __name__ == "__main__":
    main()
