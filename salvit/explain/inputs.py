"""Which images to explain, and what to call each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.base import list_images, unique_names
from salvit.errors import MissingFileError
from salvit.explain.results import GRIDS, MAPS, RECORD, printable

_LONGEST = 255
"""Bytes of a file's name, on nearly every system."""


class Input(NamedTuple):
    """An image file, and the name that its results go by."""

    name: str
    path: Path


def find_inputs(given: Sequence[Path]) -> tuple[list[Input], list[str]]:
    """List the images among files and folders, each once, in the order given.

    A name is the path below the folder given, as of `salvit predict`, or the file's own name; where two would
    agree, it is the path below the folder that all images have in common. Pictures that this command has written
    are no input when they lie in a folder given.

    Args:
        given: files, and folders to take with all below them.

    Returns:
        The images, and why others cannot be explained, each reason beginning with the path.

    Raises:
        OSError: if one does not exist or cannot be looked at, or a folder has no image.
        ValueError: if two images would be named alike nonetheless.
    """
    found: dict[str, tuple[Path, Path]] = {}  # by where a path leads
    for path in given:
        for image, name in _images_of(path):
            found.setdefault(os.path.realpath(image), (image, name))
    refused = {place: reason for place, paths in found.items() if (reason := _no_name(*paths))}
    taken = {place: paths for place, paths in found.items() if place not in refused}
    inputs = [Input(name, image) for name, (image, _) in zip(_names(taken), taken.values(), strict=True)]
    fit = [one for one in inputs if len(f"{one.name}.png".encode()) <= _LONGEST]
    too_long = [
        f"{one.path}: its results would have a file name of more than {_LONGEST} bytes"
        for one in inputs
        if one not in fit
    ]
    return fit, [*refused.values(), *too_long]


def _images_of(path: Path) -> list[tuple[Path, Path]]:
    """Each image with the path that it is named by."""
    if not path.is_dir():
        if not path.exists():
            raise MissingFileError(f"no image or folder {printable(path)}")
        return [(path, Path(path.name))]
    found = list_images(path, recursive=True)
    images = [image for image in found if not _is_result(image)]
    if not images:
        but = ", but what salvit explain has written" if found else ""
        raise MissingFileError(f"no image in the folder {printable(path)}, nor below it{but}")
    return [(image, image.relative_to(path)) for image in images]


def _is_result(image: Path) -> bool:
    return any(
        folder.name in (GRIDS, MAPS) and (folder.parent / RECORD).is_file()
        for folder in Path(os.path.realpath(image)).parents
    )


def _no_name(image: Path, name: Path) -> str:
    """Why no result can be called after an image; "" if it can."""
    if printable(image) != str(image):
        return f"{printable(image)}: the file's name is not UTF-8"
    return f"{image}: the file has no name to call its results by" if set(name.stem) <= {"."} else ""


def _names(found: dict[str, tuple[Path, Path]]) -> list[str]:
    try:
        return unique_names([name for _, name in found.values()])
    except ValueError:
        common = os.path.commonpath([os.path.dirname(place) for place in found])  # noqa: PTH120
        return unique_names([Path(place).relative_to(common) for place in found])
