"""The files of ILSVRC 2012 that say what an image of its validation set shows."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from datamodules.annotation_xml import read_objects
from datamodules.boxes import Annotation
from datamodules.errors import CorruptFileError
from datamodules.matlab import read_mat


@cache
def class_indices() -> Mapping[str, int]:
    """Index of each of the 1000 classes by its wnid.

    Example:
        >>> class_indices()["n01440764"], class_indices()["n15075141"]
        (0, 999)
    """
    from timm.data import ImageNetInfo

    return {wnid: index for index, wnid in enumerate(ImageNetInfo().label_names())}


def class_names() -> list[str]:
    """Names of the 1000 classes for people, in the order of their indices.

    Example:
        >>> class_names()[0]
        'tench, Tinca tinca'
    """
    from timm.data import ImageNetInfo

    return list(ImageNetInfo().label_descriptions())


def read_solution(path: Path) -> dict[str, str]:
    """Read ``LOC_val_solution.csv``: for each image's stem its objects, "wnid x0 y0 x1 y1 wnid …".

    Raises:
        CorruptFileError: if the file cannot be read or has other columns; names its path.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["ImageId"]: row["PredictionString"] or "" for row in csv.DictReader(file)}
    except (KeyError, ValueError, OSError, csv.Error) as error:
        raise CorruptFileError(
            f"{path}: expected a table with the columns ImageId and PredictionString "
            f"({type(error).__name__}: {error})."
        ) from error


def read_ground_truth(folder: Path) -> list[str]:
    """Read the wnid of each validation image from the development kit, the first image's first.

    Args:
        folder: with ``ILSVRC2012_validation_ground_truth.txt``, a number of the kit's own for each image, and
            ``meta.mat``, which says what wnid each number stands for. The numbers are not sorted by wnid.

    Raises:
        CorruptFileError: if a file cannot be read, or a line is not such a number; names its path.
    """
    meta, truth = folder / "meta.mat", folder / "ILSVRC2012_validation_ground_truth.txt"
    synsets = read_mat(meta, "synsets", simplify_cells=True)["synsets"]
    try:
        wnids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in np.ravel(synsets)}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptFileError(
            f"{meta}: expected synsets with ILSVRC2012_ID and WNID ({error!r})."
        ) from error
    try:
        return [wnids[int(line)] for line in truth.read_text().rstrip().split("\n")]
    except (KeyError, ValueError, OSError) as error:
        raise CorruptFileError(
            f"{truth}: expected a number of a class of {meta} in each line ({error!r})."
        ) from error


def read_annotation(wnid: str, source: Path, xml: Path | None, solution: str) -> Annotation:
    """Put together what an image shows.

    Args:
        wnid: of the image's class; empty if its source does not mention the image.
        source: file or folder that says so, for the error.
        xml: file of the boxes, or None to take those of ``solution``.
        solution: the image's objects, as in :func:`read_solution`; perhaps none.

    Raises:
        CorruptFileError: if the class is not one of the 1000 or the boxes cannot be read; names the file.
    """
    if wnid not in class_indices():
        raise CorruptFileError(
            f"{source}: {wnid or 'nothing'} is no wnid of the 1000 classes of ILSVRC 2012."
        )
    if xml is None:
        return _parsed(wnid, source, solution)
    # Edges, 0-based: unlike in Pascal VOC there are boxes that begin at 0.
    return Annotation(class_indices()[wnid], *read_objects(xml, class_indices(), first=0))


def _parsed(wnid: str, source: Path, solution: str) -> Annotation:
    words = solution.split()
    try:
        boxes = np.array([word for index, word in enumerate(words) if index % 5], np.float64).reshape(-1, 4)
        labels = np.array([class_indices()[word] for word in words[::5]], np.int64)
        if len(labels) != len(boxes):
            raise ValueError(f"{len(words)} words")
    except (KeyError, ValueError) as error:
        raise CorruptFileError(
            f"{source}: expected objects as 'wnid x0 y0 x1 y1 …', not {solution!r} ({error})."
        ) from error
    return Annotation(class_indices()[wnid], boxes, labels)
