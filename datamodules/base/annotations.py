"""Readers of annotation files (tables, MATLAB, binary maps, Pascal VOC's XML). Every error names the file."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import pandas as pd
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from datamodules.base.dataset import CorruptFileError, Size
from datamodules.base.images import read_bright
from salvit.errors import InvalidValueError

T = TypeVar("T")
_REMEDY = "replace the file, or leave such images out with on_error='skip'."

Objects = tuple[NDArray[np.float64], NDArray[np.int64], Size | None]
"""Boxes, the indices of their classes, and the size of the image."""


def read_table(path: Path, separator: str, /, **columns: type) -> pd.DataFrame:
    """Read a text file of lines without a header; the first column is the index, and has each value once.

    Args:
        path: the file.
        separator: between the cells of a line.
        **columns: names of the columns and the types of their values; further ones are ignored.

    Raises:
        CorruptFileError: if the file cannot be read or is no such table.
    """
    index, *_ = columns
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            names=list(columns),
            usecols=range(len(columns)),
            dtype=columns,
            keep_default_na=False,  # "nan" may be a name: it is a kind of bread
            quoting=csv.QUOTE_NONE,
        ).set_index(index)
    except (ValueError, OSError) as error:
        raise CorruptFileError(
            f"{path}: expected lines of {', '.join(columns)} ({error}); replace the file."
        ) from error
    if table.index.has_duplicates:
        raise CorruptFileError(f"{path}: has lines with the same {index}; replace the file.")
    return table


def read_mat(path: Path, variable: str, simplify_cells: bool = False) -> dict[str, Any]:
    """Read the variables of a MATLAB file up to version 7; the file must have ``variable``.

    With ``simplify_cells``, structs become dicts and cells become lists.

    Raises:
        CorruptFileError: if the file is missing, damaged, of version 7.3, or lacks the variable.
    """
    from scipy.io import loadmat

    try:
        contents = loadmat(path, simplify_cells=simplify_cells)
    except NotImplementedError as error:  # scipy's answer to version 7.3, which is HDF5
        raise CorruptFileError(
            f"{path}: a MATLAB file of version 7.3, which scipy does not read: save it in MATLAB with "
            "save(…, '-v7')."
        ) from error
    # On damaged files loadmat raises ValueError, TypeError, zlib.error, struct.error, MemoryError and more.
    except Exception as error:
        raise CorruptFileError(
            f"{path}: cannot read the MATLAB file ({type(error).__name__}: {error}); {_REMEDY}"
        ) from error
    if variable not in contents:
        raise CorruptFileError(f"{path}: expected a variable '{variable}', which the file does not have.")
    return contents


def as_points(values: Any, path: Path) -> NDArray[np.float64]:
    """Rows of two coordinates, float64 [n, 2], from values of any real dtype: [n, 2], [2] for one point, or empty.

    Raises:
        CorruptFileError: if the values have another shape or are not numbers; the message names ``path``.

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


def annotation_of(annotations: Mapping[str, T], stem: str, path: Path, size: Size) -> T:
    """The annotation of an image from the file ``path``; CorruptFileError if the file does not mention the image."""
    if stem not in annotations:
        raise CorruptFileError(f"{path}: does not mention the image {stem}.")
    return annotations[stem]


def points_of(fixated: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points (x, y) of a binary map [H, W], row by row: float64 [n, 2], 0-based. Each pixel counts once.

    Example:
        >>> points_of(np.array([[False, False, True], [True, False, False]]))
        array([[2., 0.],
               [0., 1.]])
    """
    return np.argwhere(fixated)[:, ::-1].astype(np.float64)


def read_mat_map(variable: str, path: Path, size: Size) -> NDArray[np.float64]:
    """Read fixations from a full or sparse matrix of a MATLAB file: the non-zero pixels, as in :func:`points_of`.

    Raises:
        CorruptFileError: if the file cannot be read, or the matrix is not of the image's ``size`` or has NaN.
    """
    from scipy.sparse import issparse

    values = read_mat(path, variable)[variable]
    values = values.toarray() if issparse(values) else np.asarray(values)
    if values.shape != size or values.dtype.kind not in "buif":
        raise CorruptFileError(
            f"{path}: expected '{variable}' to be a matrix of numbers, {size[0]}×{size[1]} like its image, not "
            f"{values.dtype} of shape {values.shape}."
        )
    if np.isnan(values).any():
        raise CorruptFileError(
            f"{path}: '{variable}' has NaN; expected 0 where nobody looked, and another number at fixations."
        )
    return points_of(values != 0)


def read_picture_map(path: Path, size: Size) -> NDArray[np.float64]:
    """Read fixations from a picture: its white pixels, as in :func:`points_of`.

    Raises:
        CorruptFileError: as :func:`datamodules.base.images.read_bright`.
    """
    return points_of(read_bright(path, size))


def read_objects(path: Path, classes: Mapping[str, int], first: int) -> Objects:
    """Read the objects of an image: ``object/{name, bndbox/{xmin, ymin, xmax, ymax}}`` and ``size``.

    Args:
        path: the XML file. Coordinates may be fractional. Other elements are ignored.
        classes: index of each class by name.
        first: 1 if pixels count from 1 and a box includes its last pixel, as in Pascal VOC; 0 if the file has edges.

    Returns:
        Boxes float64 [n, 4] of edges (x0, y0, x1, y1), class indices int64 [n], and the (height, width) that the
        file gives, or None.

    Raises:
        CorruptFileError: if the file is missing, is not such XML, declares a document type (whose entities could
            expand without limit), or names an unknown class.
    """
    root = _parse(path)
    try:
        objects = root.findall("object")
        boxes = [
            [float(_text(item, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")]
            for item in objects
        ]
        labels = [classes[_text(item, "name")] for item in objects]
        height, width = (
            int(float(root.findtext(f"size/{side}", "").strip() or 0)) for side in ("height", "width")
        )
    except KeyError as error:
        raise CorruptFileError(
            f"{path}: unknown class {error}; expected one of {len(classes)} names."
        ) from error
    except (ValueError, OverflowError) as error:
        raise CorruptFileError(f"{path}: {error}.") from error
    edges = np.array(boxes, np.float64).reshape(-1, 4) - np.array([first, first, 0, 0])
    return edges, np.array(labels, np.int64), (height, width) if min(height, width) > 0 else None


def _parse(path: Path) -> Element:
    try:
        root: Element = fromstring(path.read_bytes(), forbid_dtd=True)
    # An encoding that Python does not know or expat cannot use is a LookupError or a ValueError.
    except (ParseError, ValueError, LookupError, OSError) as error:
        raise CorruptFileError(
            f"{path}: cannot read the annotation ({type(error).__name__}: {error}); {_REMEDY}"
        ) from error
    return root


def _text(element: Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise InvalidValueError(f"<{element.tag}> has no <{name.replace('/', '><')}>")
    return text
