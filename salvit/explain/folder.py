"""The folder of results: what it is checked for before anything is computed."""

import os
from pathlib import Path

from salvit.explain.names import is_utf8, printable

GRIDS, MAPS = "grids", "maps"
INDEX, RECORD = "explain.csv", "explain.json"


def make_folder(out: Path) -> None:
    """Make the folder and those in it, and raise unless files can be written there.

    Args:
        out: the folder.

    Raises:
        OSError: if one cannot be made or written to, or a folder is where a file should be.
        ValueError: if its name is no text, so that no file could name it.
    """
    if not is_utf8(str(out)):
        raise ValueError(f"the name of the folder --out {printable(str(out))} is not UTF-8: take another")
    for folder in (out, out / GRIDS, out / MAPS):
        _make_writable(folder, out)
    for file in (out / INDEX, out / RECORD):
        if file.is_dir():
            raise IsADirectoryError(f"cannot write {file}, which is a folder: take another --out")


def _make_writable(folder: Path, out: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        within = "" if folder == out else f"{folder} in "
        raise OSError(f"cannot make the folder {within}--out {out}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to the folder {folder} (--out)")
