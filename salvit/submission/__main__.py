"""`python -m salvit.submission PATH --data DATAMODULE --data.root FOLDER`: check a folder of maps or an HDF5 file."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import datamodules
from datamodules.base import CorruptFileError, DatasetNotFoundError
from salvit.submission.check import check_submission
from salvit.submission.stimuli import completeness, stimuli_of


def main(args: Sequence[str] | None = None) -> None:
    """Check a submission against the images of a datamodule's predict split.

    Args:
        args: the command line; `sys.argv` by default.

    Raises:
        SystemExit: with status 1 if it is no submission, 2 if the command line is wrong.
    """
    on_disk = [name for name in datamodules.__all__ if getattr(getattr(datamodules, name), "env", None)]
    parser = argparse.ArgumentParser(prog="python -m salvit.submission", description=__doc__)
    parser.add_argument("path", type=Path, help="a folder of maps, or an .h5 file of log densities")
    parser.add_argument(
        "--data", default="MIT300DataModule", choices=on_disk, help="whose images; %(default)s by default"
    )
    parser.add_argument("--data.root", dest="root", help="its folder; its environment variable by default")
    options = parser.parse_args(args)
    try:
        data = getattr(datamodules, options.data)(options.root)
        stimuli = stimuli_of(data.dataset("predict"))
        check_submission(options.path, stimuli)
    except (ValueError, ModuleNotFoundError, DatasetNotFoundError, CorruptFileError) as error:
        print(f"salvit.submission: error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    print(f"{options.path}: {completeness(data, len(stimuli))}")


if __name__ == "__main__":
    main()
