"""The file that says in which features the targets of O3 are odd."""

import re
from pathlib import Path

from datamodules.errors import CorruptFileError

FEATURES = {
    "color": "colour",
    "colour": "colour",
    "texture": "texture",
    "shape": "shape",
    "size": "size",
    "orientation": "orientation",
    "focus": "focus",
    "location": "location",
}
_YES = {"1", "1.0", "true", "yes", "y", "t"}
_NO = {"0", "0.0", "false", "no", "n", "f", ""}


def read_features(path: Path) -> dict[str, list[str]]:
    """Read ``image_properties.txt`` of O3.

    Args:
        path: of a table whose first line names its columns, separated by tabs, commas, semicolons or spaces: the
            image file first, and a column for each feature that says whether the target is odd in it.

    Returns:
        For each image's stem the features in which its target is odd, in the order of the columns.

    Raises:
        CorruptFileError: if the file cannot be read or is no such table; names its path.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path}: cannot read it ({type(error).__name__}: {error}).") from error
    header, *rows = [_cells(line) for line in lines] or [[]]
    columns = {place: FEATURES[name.lower()] for place, name in enumerate(header) if name.lower() in FEATURES}
    if not columns:
        raise CorruptFileError(
            f"{path}: expected a table whose first line names the image and columns of "
            f"{', '.join(sorted(set(FEATURES.values())))}, but it begins {lines[:1]}."
        )
    return {Path(row[0]).stem: _odd(row, columns, path) for row in rows}


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in "\t;," if mark in line), None)
    cells = line.split(separator) if separator else re.split(r"\s+", line.strip())
    return [cell.strip().strip("\"'") for cell in cells]


def _odd(row: list[str], columns: dict[int, str], path: Path) -> list[str]:
    values = {name: row[place].lower() if place < len(row) else "" for place, name in columns.items()}
    for name, value in values.items():
        if value not in _YES | _NO:
            raise CorruptFileError(f"{path}: expected 0 or 1 for {name} of {row[0]}, not {value!r}.")
    return [name for name, value in values.items() if value in _YES]
