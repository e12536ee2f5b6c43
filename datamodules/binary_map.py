"""Fixations that a dataset ships as a binary map: 1 on every pixel that somebody looked at."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.dataset import Size
from datamodules.errors import CorruptFileError
from datamodules.images import read_bright
from datamodules.matlab import read_mat


def points_of(fixated: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points of a binary map; how often a pixel was fixated, the map does not say.

    Args:
        fixated: [H, W].

    Returns:
        float64 [n, 2] of (x, y), 0-based, by row.

    Example:
        >>> points_of(np.array([[False, False, True], [True, False, False]]))
        array([[2., 0.],
               [0., 1.]])
    """
    return np.argwhere(fixated)[:, ::-1].astype(np.float64)


def read_mat_map(variable: str, path: Path, size: Size) -> NDArray[np.float64]:
    """Read fixations from a matrix in a MATLAB file, not zero where somebody looked.

    Args:
        variable: the matrix's name.
        path: of the ``.mat`` file.
        size: (height, width) of the image, and so of the matrix.

    Returns:
        float64 [n, 2] of (x, y), 0-based.

    Raises:
        CorruptFileError: if the file cannot be read or the matrix is none of that size; names the path.
    """
    values = np.asarray(read_mat(path, variable)[variable])
    if values.shape != size or values.dtype.kind not in "buif":
        raise CorruptFileError(
            f"{path}: expected '{variable}' to be a matrix of numbers, {size[0]}×{size[1]} like its image, not "
            f"{values.dtype} of shape {values.shape}."
        )
    return points_of(values != 0)


def read_picture_map(path: Path, size: Size) -> NDArray[np.float64]:
    """Read fixations from a picture, white where somebody looked.

    Args:
        path: of the picture; see :func:`datamodules.images.read_bright`.
        size: (height, width) of the image, and so of the picture.

    Returns:
        float64 [n, 2] of (x, y), 0-based.

    Raises:
        CorruptFileError: if the picture cannot be read or is of another size; names the path.
    """
    return points_of(read_bright(path, size))
