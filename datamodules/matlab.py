"""MATLAB files, with one error for whatever can be wrong with them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import CorruptFileError


def read_mat(path: Path, variable: str, simplify_cells: bool = False) -> dict[str, Any]:
    """Read a MATLAB file (up to version 7).

    MATLAB compresses what it saves, and the checksums show any damage. scipy's reader is not hardened against
    damage inside an uncompressed file, which may end the process.

    Args:
        path: of the ``.mat`` file.
        variable: one that the file must have.
        simplify_cells: structs as dicts and cells as lists instead of nested arrays.

    Returns:
        The variables by name.

    Raises:
        CorruptFileError: if the file is missing, damaged or without the variable; names its path.
    """
    from scipy.io import loadmat

    try:
        contents = loadmat(path, simplify_cells=simplify_cells)
    # On damaged files loadmat raises ValueError, TypeError, zlib.error, struct.error, MemoryError and more.
    except Exception as error:
        raise CorruptFileError(
            f"{path}: cannot read the MATLAB file ({type(error).__name__}: {error}); "
            "replace the file, or leave such images out with on_error='skip'."
        ) from error
    if variable not in contents:
        raise CorruptFileError(f"{path}: expected a variable '{variable}', which the file does not have.")
    return contents


def as_points(values: Any, path: Path) -> NDArray[np.float64]:
    """Rows of two coordinates from what MATLAB or JSON made of them.

    Args:
        values: [n, 2], or [2] for a single point, or anything empty; of any real dtype.
        path: named by the error.

    Returns:
        float64 [n, 2], so that 1 can be subtracted from what was unsigned.

    Raises:
        CorruptFileError: for any other shape, or values that are no numbers; names the path.

    Example:
        >>> as_points(np.array([3, 1], dtype=np.uint8), Path("a.mat")) - 4
        array([[-1., -3.]])
    """
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CorruptFileError(f"{path}: fixations are no table of numbers ({error}).") from error
    if points.size == 0:
        return np.empty((0, 2))
    if points.shape == (2,):
        return points[None]
    if points.ndim != 2 or points.shape[1] != 2:
        raise CorruptFileError(f"{path}: expected fixations of shape n×2, not {points.shape}.")
    return points
