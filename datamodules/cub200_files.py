"""The text tables of CUB-200-2011: a number, then what belongs to the image or class of that number."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import CorruptFileError


def read_table(path: Path) -> dict[str, str]:
    """Read lines of "number value" in their order.

    Raises:
        CorruptFileError: if a line is of another form or a number occurs twice; names the path.
    """
    try:
        rows = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
        table = {number: value.strip() for number, value in rows}
    except (ValueError, OSError) as error:
        raise CorruptFileError(f"{path}: expected lines of a number and a value ({error}).") from error
    if len(table) < len(rows):
        raise CorruptFileError(f"{path}: {len(rows) - len(table)} numbers occur twice.")
    return table


def read_numbers(
    table: Mapping[str, str], images: Collection[str], columns: int, path: Path
) -> NDArray[np.float64]:
    """Numbers of every image, float64 [n, columns], in the order of the images.

    Raises:
        CorruptFileError: if the table is not of these images, or a row not of so many numbers; names the path.
    """
    if table.keys() != set(images):
        raise CorruptFileError(
            f"{path}: has {len(table)} rows, for {len(table.keys() & set(images))} of the {len(images)} images; "
            "expected one for each, as in images.txt."
        )
    try:
        rows = [[float(word) for word in table[image].split()] for image in images]
        return np.array(rows, np.float64).reshape(len(rows), columns)
    except ValueError as error:
        raise CorruptFileError(f"{path}: expected {columns + 1} numbers in each row ({error}).") from error
