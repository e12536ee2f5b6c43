"""`python -m salvit.report FOLDER`: the runs under a folder as one table, pictures, curves and a page."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from salvit.cli.failure import one_clear_error
from salvit.cli.interrupt import interruptible
from salvit.errors import MissingFileError
from salvit.report.page import write_report


def main(args: Sequence[str] | None = None) -> None:
    """Write the report of the runs under a folder into it, and print its tables.

    Raises:
        SystemExit: with status 2 if the command line is wrong or there is no run, 1 after an error later, 130 after
            Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m salvit.report", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="where the runs are, and where the report goes")
    parser.add_argument("--title", help="of the page; the folder's name by default")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print results and errors only, as it always does"
    )
    options = parser.parse_args(args)
    with interruptible(), one_clear_error():
        try:
            tables = write_report(options.folder, options.title)
        except MissingFileError as error:
            parser.error(str(error))
    console = Console()
    for table in tables:
        console.print(*table.terminal(console.width, spread=False), sep="\n")
    print(f"report: {options.folder / 'index.html'}")


if __name__ == "__main__":
    main()
