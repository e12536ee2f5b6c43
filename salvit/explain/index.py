"""What was made: a row per map, in a file that later runs add to."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import monotonic
from typing import Any

from salvit.explain.folder import INDEX
from salvit.files import atomic_write

_SECONDS = 5
"""Between writing the file once and again; it may have thousands of rows, and is written whole."""


@dataclass(frozen=True)
class Row:
    """A map; fields about classes are empty where there is none, files are relative to the output folder."""

    image: str
    name: str
    height: int
    width: int
    predicted: int | str
    predicted_name: str
    probability: float | str
    method: str
    target: int | str
    target_name: str
    target_probability: float | str
    map: str
    overlay: str
    grid: str
    image_sha256: str


class Index:
    """The rows of `explain.csv`: those of earlier runs whose files are there, and those of this one.

    Args:
        folder: of the results.

    Raises:
        ValueError: if the file there is of another form.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, dict[str, Row]] = {}  # by image and map
        self._written = monotonic()
        for row in _read(folder / INDEX):
            if _is_written(folder / row.map) and _is_written(folder / row.overlay):
                grid = row.grid if _is_written(folder / row.grid) else ""
                self._rows.setdefault(row.name, {})[row.map] = replace(row, grid=grid)

    def of(self, name: str) -> dict[str, Row]:
        """The rows of an image, by map."""
        return dict(self._rows.get(name, {}))

    def images_of(self, sha256: str | None) -> dict[str, Path]:
        """Names of the images whose files have a hash, with the paths by which they were found last."""
        return {
            name: Path(row.image)
            for name, rows in self._rows.items()
            for row in rows.values()
            if row.image_sha256 == sha256
        }

    def names_by_path(self) -> dict[str, set[str]]:
        """Names of the images that were found by a path last."""
        names: dict[str, set[str]] = {}
        for name, rows in self._rows.items():
            for row in rows.values():
                names.setdefault(row.image, set()).add(name)
        return names

    @property
    def is_empty(self) -> bool:
        """Whether there is no row."""
        return not self._rows

    def add(self, row: Row) -> None:
        """Add a map whose files are written."""
        self._rows.setdefault(row.name, {})[row.map] = row
        if monotonic() - self._written > _SECONDS:
            self.write()

    def set_image(self, name: str, image: str) -> None:
        """Say by which path an image was found this time."""
        self._change(name, image=image)

    def set_grid(self, name: str, grid: str) -> None:
        """Add an image's grid, which is written."""
        self._change(name, grid=grid)

    def write(self) -> None:
        """Write `explain.csv`."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for rows in self._rows.values() for row in rows.values())
        with atomic_write(self.folder / INDEX) as file:
            file.write(text.getvalue().encode())
        self._written = monotonic()

    def _change(self, name: str, **values: Any) -> None:
        self._rows[name] = {key: replace(row, **values) for key, row in self.of(name).items()}


def _is_written(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


_COLUMNS = [field.name for field in fields(Row)]


def _read(path: Path) -> Iterable[Row]:
    if not path.is_file():
        return
    other = f"{path} is not a table of this version: take another --out, or delete the folder"
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            if reader.fieldnames != _COLUMNS:
                raise ValueError("other columns")
            yield from map(_parsed, reader)
        except (ValueError, TypeError, csv.Error) as error:
            raise ValueError(other) from error


def _parsed(row: dict[str, str]) -> Row:
    numbers = {
        "height": int(row["height"]),
        "width": int(row["width"]),
        "predicted": _number(int, row["predicted"]),
        "probability": _number(float, row["probability"]),
        "target": _number(int, row["target"]),
        "target_probability": _number(float, row["target_probability"]),
    }
    return Row(**{**row, **numbers})  # type: ignore[arg-type]


def _number(kind: Callable[[str], float], text: str) -> float | str:
    return kind(text) if text else ""
