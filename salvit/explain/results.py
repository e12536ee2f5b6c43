"""The folder of results. Each overlay has in its file how its map was made, so that a later command can go on."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image, PngImagePlugin

from salvit.errors import CannotWriteError, InvalidValueError, UnavailableError
from salvit.results.atomic import atomic_write

GRIDS, MAPS = "grids", "maps"
TABLE, RECORD = "explain.csv", "explain.json"
COLUMNS = (
    *("image", "name", "height", "width", "predicted", "predicted_name", "probability"),
    *("method", "target", "target_name", "target_probability", "shown_from", "shown_to"),
    *("map", "overlay", "grid", "image_sha256"),
)
"""Of the table; those about classes are empty where there is none, files are relative to the folder."""

Row = dict[str, str]
_ABOUT = "salvit"
"""Key of the text in a picture's file that says what it shows."""


class Results:
    """What is in the folder.

    Args:
        folder: of the results.

    Attributes:
        rows: of the maps that are there whole, by file name without suffix. Beside the `COLUMNS` each has `model` and
            `settings`, which all maps of the folder have in common, and `code`, of the method.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, Row] = {}
        for overlay in sorted((folder / MAPS).glob("*/*.png")):
            file = overlay.with_suffix(".npy")
            row = read_about(overlay)
            if isinstance(row, dict) and file.is_file() and file.stat().st_size:
                self.rows[row["map"].removesuffix(".npy")] = row

    def write_table(self) -> None:
        """Write `explain.csv`."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for _, row in sorted(self.rows.items()):
            grid = f"{GRIDS}/{row['name']}.png"
            writer.writerow({**row, "grid": grid if (self.folder / grid).is_file() else ""})
        with atomic_write(self.folder / TABLE) as file:
            file.write(text.getvalue().encode())

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write `explain.json`."""
        with atomic_write(self.folder / RECORD) as file:
            file.write((json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other commands out of it: each would write a table without the other's maps.

    Raises:
        OSError: if it cannot be made or written to.
        ValueError: if its name is not UTF-8, so that no file could name it.
        RuntimeError: if another command is writing to it.
    """
    if printable(folder) != str(folder):
        raise InvalidValueError(
            f"the name of the folder --out {printable(folder)} is not UTF-8: take another"
        )
    for one in (folder, folder / GRIDS, folder / MAPS):
        try:
            one.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            within = "" if one == folder else f"{one} in "
            raise CannotWriteError(
                f"cannot make the folder {within}--out {folder}: {error.strerror}"
            ) from error
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UnavailableError(
            f"another run is writing to {folder}: wait until it is done, or take another --out"
        ) from error


def write_picture(path: Path, picture: Image.Image, about: Any) -> None:
    """Write a PNG file with what it shows, plain values, as text in it."""
    text = PngImagePlugin.PngInfo()
    text.add_text(_ABOUT, json.dumps(about))
    with atomic_write(path) as file:
        # Level 1 is 4 times as fast as Pillow's default, for files 1 to 8 % larger.
        picture.save(file, format="PNG", compress_level=1, pnginfo=text)


def read_about(path: Path) -> Any:
    """What a picture's file says that it shows; None if it is missing, says nothing or is no picture."""
    try:
        with Image.open(path) as picture:
            return json.loads(picture.info[_ABOUT])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return None


def printable(path: Path | str) -> str:
    r"""A path or text with its bytes that are not UTF-8 written out.

    Example:
        >>> print(printable("Größe.jpg"), printable("Gr\udcf6\udcdfe.jpg"))
        Größe.jpg Gr\udcf6\udcdfe.jpg
    """
    return str(path).encode(errors="backslashreplace").decode()
