"""`python -m salvit.submission PATH --data DATAMODULE --data.root FOLDER`: check a folder of maps or an HDF5 file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import datamodules
from salvit.cli.failure import one_clear_error
from salvit.cli.interrupt import interruptible
from salvit.submission.check import check_submission
from salvit.submission.stimuli import completeness, stimuli_of


def main(args: Sequence[str] | None = None) -> None:
    """Check a submission against the images of a datamodule's predict split.

    Args:
        args: the command line; `sys.argv` by default.

    Raises:
        SystemExit: with status 1 if it is no submission, 2 if the command line is wrong or the images are not there,
            130 after Ctrl-C.
    """
    on_disk = [name for name in datamodules.__all__ if getattr(getattr(datamodules, name), "env", None)]
    parser = argparse.ArgumentParser(
        prog="python -m salvit.submission", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("path", type=Path, help="a folder of maps, or an .h5 file of log densities")
    parser.add_argument(
        "--data", default="MIT300DataModule", choices=on_disk, help="whose images; %(default)s by default"
    )
    parser.add_argument("--data.root", dest="root", help="its folder; its environment variable by default")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print results and errors only, as it always does"
    )
    options = parser.parse_args(args)
    with interruptible(), one_clear_error():
        with one_clear_error(status=2):
            data = getattr(datamodules, options.data)(options.root)
            stimuli = stimuli_of(data.dataset("predict"))
        check_submission(options.path, stimuli)
    print(f"{options.path}: {completeness(data, len(stimuli))}")


if __name__ == "__main__":
    main()
