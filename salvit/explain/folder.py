"""The folder of results: what it is checked for before anything is computed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from salvit.explain.names import is_utf8, printable

GRIDS, MAPS = "grids", "maps"
INDEX, RECORD = "explain.csv", "explain.json"
_LOCK = ".lock"


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


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs out of the folder: each would write tables without the other's maps.

    Args:
        out: the folder, which is there.

    Raises:
        RuntimeError: if another run is in it.
    """
    lock = FileLock(out / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RuntimeError(
            f"another run is writing to {out}: wait until it is done, or take another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _make_writable(folder: Path, out: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        within = "" if folder == out else f"{folder} in "
        raise OSError(f"cannot make the folder {within}--out {out}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to the folder {folder} (--out)")
