"""The command `salvit report`. Nothing heavy is imported here, so that `--help` stays instant."""

from collections.abc import Sequence
from pathlib import Path

from salvit.cli.interrupt import importing, interruptible
from salvit.cli.plain_parser import PlainParser

_DESCRIPTION = """Make one page of all runs under a folder, including explanation runs, sweeps and the output of `salvit
explain`: tables with intervals, differences and published scores, curves, how much maps agree, a gallery of maps, and
the attention of the models."""

_EPILOG = """files under --out; a file without content is not written:
  index.html        the page: one file, which needs no network
  scores.csv        a line per table, row and score: mean, ends of the 95 % bootstrap interval, number of images, and
                    for published rows our score minus the published one
  differences.csv   the difference of every two rows of a table, with its interval
  agreement.csv     the rank correlation of every two maps, image by image
  scores.md         the tables in Markdown
  scores.tex        the tables in LaTeX, with booktabs

The tables go to stdout, progress goes to stderr. Exit status: 0; 2 if the command line is wrong or there is no run; 1
after an error later; 130 after Ctrl-C.

examples:
  salvit report runs
  salvit report runs/osie --title "OSIE" --out osie-report"""


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit report`.

    Raises:
        SystemExit: with status 2 if the command line is wrong or there is no run, 1 after an error later, 130 after
            Ctrl-C.
    """
    parser = PlainParser("salvit report", _DESCRIPTION, _EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the runs are")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the report goes; default: FOLDER/report"
    )
    parser.add_argument("--title", help="title of the page; default: the folder's name")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    out = options.out or options.folder / "report"
    with interruptible():
        with importing():
            from rich.console import Console

            from salvit.cli.failure import one_clear_error, plain_warnings
            from salvit.errors import MissingFileError
            from salvit.report.export import parts_of
            from salvit.report.folder import PAGE, write_report
        with one_clear_error(), plain_warnings():
            try:
                tables = write_report(options.folder, out, options.title)
            except MissingFileError as error:
                parser.error(str(error))
        console = Console()
        for one in tables:
            console.print(*parts_of(one)[0].terminal(console.width, spread=False), sep="\n")
        print(f"report: {out / PAGE}")
