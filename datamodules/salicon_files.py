"""The annotation files of both SALICON releases."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.dataset import Size
from datamodules.errors import CorruptFileError
from datamodules.matlab import as_points, read_mat


def read_gaze(path: Path, size: Size) -> NDArray[np.float64]:
    """Read the fixations of all observers of one image from a ``.mat`` file of the 2017 release.

    Args:
        path: of the file; see :func:`read_observers`.
        size: (height, width) of the image.

    Returns:
        float64 [n, 2] of (x, y), 0-based, in the order of the observers.

    Raises:
        CorruptFileError: as for :func:`read_observers`.
    """
    return np.concatenate([np.empty((0, 2)), *read_observers(path, size)])


def read_observers(path: Path, size: Size) -> list[NDArray[np.float64]]:
    """Read the fixations of each observer of one image from a ``.mat`` file of the 2017 release.

    Args:
        path: of a file with ``resolution`` [[height, width]] and ``gaze``, a struct array with one element
            per observer and the field ``fixations``: k×2 of [x, y], 1-based, unsigned.
        size: (height, width) of the image.

    Returns:
        For each observer float64 [n, 2] of (x, y), 0-based.

    Raises:
        CorruptFileError: if the file cannot be read, has no gaze, or is for an image of another size; names
            its path.
    """
    contents = read_mat(path, "gaze")
    resolution = np.ravel(contents.get("resolution", size)).tolist()
    if resolution != list(size):
        raise CorruptFileError(f"{path}: recorded at resolution {resolution}, but the image is {list(size)}.")
    # An array whatever it is: scipy puts a sentence in place of a variable that it cannot read.
    gaze = np.asarray(contents["gaze"])
    if gaze.size and "fixations" not in (gaze.dtype.names or ()):
        raise CorruptFileError(f"{path}: expected 'gaze' to be a struct array with a field 'fixations'.")
    return [as_points(fixations, path) - 1 for fixations in gaze["fixations"].ravel()] if gaze.size else []


def read_annotations(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read the fixations of all images from a JSON file of the 2015 release.

    Args:
        path: of a COCO-like file: ``images`` of {id, file_name} and, one per observer, ``annotations`` of
            {image_id, fixations}, the latter [[row, column], …], 1-based.

    Returns:
        For each image's stem float64 [n, 2] of (x, y), 0-based; [0, 2] for an image without annotations.

    Raises:
        CorruptFileError: if the file is damaged or not of this form; names its path.
    """
    try:
        contents = json.loads(path.read_bytes())
        stems = {image["id"]: Path(image["file_name"]).stem for image in contents["images"]}
        observers: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for annotation in contents["annotations"]:
            observers[stems[annotation["image_id"]]].append(as_points(annotation["fixations"], path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(
            f"{path}: expected SALICON's 2015 JSON ('images' with id and file_name, 'annotations' with "
            f"image_id and fixations), but got {type(error).__name__}: {error}."
        ) from error
    none = [np.empty((0, 2))]
    return {stem: np.concatenate(observers.get(stem, none))[:, ::-1] - 1 for stem in stems.values()}
