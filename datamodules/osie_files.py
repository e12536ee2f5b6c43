"""The one annotation file of OSIE."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import CorruptFileError
from datamodules.matlab import as_points, read_mat


def _elements(cell: Any) -> list[Any]:
    """Elements of a MATLAB cell array; scipy unwraps one of a single element."""
    return [cell] if isinstance(cell, Mapping) else list(cell)


def _points(subject: Mapping[str, Any], path: Path) -> NDArray[np.float64]:
    """Points of one subject: columns of a single fixation are scalars, those of none are empty."""
    return as_points(np.stack([np.ravel(subject["fix_x"]), np.ravel(subject["fix_y"])], axis=1), path)


def read_osie(path: Path) -> dict[str, list[NDArray[np.float64]]]:
    """Read the fixations of each subject on each image from OSIE's ``fixations.mat``.

    Args:
        path: of a file with the cell array ``fixations`` of {img, subjects: [{fix_x, fix_y, fix_duration}]};
            coordinates are pixels, fractional and 1-based.

    Returns:
        For each image's stem float64 [n, 2] of (x, y), 0-based, for each subject.

    Raises:
        CorruptFileError: if the file cannot be read or is not of this form; names its path.
    """
    contents = read_mat(path, "fixations", simplify_cells=True)
    try:
        return {
            Path(entry["img"]).stem: [_points(subject, path) - 1 for subject in _elements(entry["subjects"])]
            for entry in _elements(contents["fixations"])
        }
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(
            f"{path}: expected a cell array 'fixations' of {{img, subjects: {{fix_x, fix_y}}}}, but got "
            f"{type(error).__name__}: {error}."
        ) from error
