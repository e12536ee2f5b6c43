"""`python -m salvit.report FOLDER`: the runs under a folder as one table, pictures, curves and a page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from salvit.report.page import write_report


def main(args: Sequence[str] | None = None) -> None:
    """Write the report of the runs under a folder into it, and print its tables.

    Raises:
        SystemExit: with status 1 if there is no run, 2 if the command line is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m salvit.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the runs are, and where the report goes")
    parser.add_argument("--title", help="of the page; the folder's name by default")
    options = parser.parse_args(args)
    try:
        tables = write_report(options.folder, options.title)
    except FileNotFoundError as error:
        print(f"salvit.report: error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    console = Console()
    for table in tables:
        console.print(*table.terminal(console.width, spread=False), sep="\n")
    print(f"report: {options.folder / 'index.html'}")


if __name__ == "__main__":
    main()
