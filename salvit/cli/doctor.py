"""The command `salvit doctor`: is everything there that salvit needs, in versions that work together?

Nothing heavy is imported here, so that `--help` stays instant.
"""

import argparse
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from salvit.cli.interrupt import importing, interruptible
from salvit.cli.plain_parser import PlainParser

if TYPE_CHECKING:
    from salvit.cli.checks import Check

_DESCRIPTION = """Check versions, devices, W&B, datasets, weights and room on disk.

A line begins with "ok", with "note" for what you may want to know, or with "WRONG" for what will fail: a version that
is too old, a dataset that you have named but that is not complete, a disk without room."""

_EPILOG = """Datasets are found by their environment variables, such as SALVIT_OSIE_ROOT, or by --root. Other datasets
are not checked. In every split all file names are checked and the first image is read.

Exit status: 0; 1 if a line begins with "WRONG"; 2 if the command line is wrong; 130 after Ctrl-C.

example:
  salvit doctor --root OSIE=predicting-human-gaze-beyond-pixels --runs /scratch/runs"""


def main(arguments: Sequence[str]) -> None:
    """Run a command line, and print a line for each thing that it checks.

    Args:
        arguments: what was typed after `salvit doctor`.

    Raises:
        SystemExit: with status 1 if something is wrong, 2 if the command line is, 0 after `--help`, 130 after Ctrl-C.
    """
    parser = PlainParser("salvit doctor", _DESCRIPTION, _EPILOG)
    about = "where a dataset is; may be repeated. NAME as in --data NAMEDataModule, such as OSIE or Salicon"
    parser.add_argument("--root", type=_root, action="append", default=[], metavar="NAME=FOLDER", help=about)
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of all runs; default: runs"
    )
    options = parser.parse_args(arguments)
    with interruptible():
        with importing():  # heavy, and not needed for help
            from salvit.cli.data_checks import dataset_kinds
            from salvit.cli.failure import plain_warnings
        known = {name.lower(): name for name in dataset_kinds()}
        if unknown := [name for name, _ in options.root if name.lower() not in known]:
            parser.error(f"--root {unknown[0]}=…: no such dataset; there are {', '.join(known.values())}")
        roots = {known[name.lower()]: folder for name, folder in options.root}
        wrong = 0
        with plain_warnings():
            for check in _checks(roots, options.runs):
                text = textwrap.indent(check.text, " " * 20).lstrip()
                print(f"{check.state:<7}{check.subject:<13}{text}", flush=True)
                wrong += check.state == "WRONG"
    if wrong:
        raise SystemExit(1)


def _checks(roots: Mapping[str, str], runs: Path) -> Iterator["Check"]:
    """Checks one after the other, so that each line is printed as soon as it is known."""
    from salvit.cli import checks, data_checks

    yield from checks.check_versions()
    yield from checks.check_devices()
    yield checks.check_wandb()
    yield from data_checks.check_datasets(roots)
    yield from checks.check_weights()
    yield checks.check_room("runs", runs)
    yield checks.check_room("temporary", Path(tempfile.gettempdir()))


def _root(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, as in OSIE=/data/osie; got {text!r}")
    return name, folder
