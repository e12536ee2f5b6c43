"""Which images to explain, and what to call each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.base import list_images, unique_names
from salvit.explain.folder import GRIDS, MAPS, RECORD
from salvit.explain.names import LONGEST, is_utf8, printable


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
        The images, and why others have names that no result can go by, each beginning with the path.

    Raises:
        OSError: if one does not exist or cannot be looked at, or a folder has no image.
        ValueError: if two images would be named alike nonetheless.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    refused: dict[Path, str] = {}
    for path in given:
        for image, name in _images_of(path):
            if is_utf8(str(image)):
                found.setdefault(_real(image), (image, name))
            else:
                refused[image] = f"{printable(str(image))}: the file's name is not UTF-8"
    for image in [image for image, (_, name) in found.items() if set(name.stem) <= {"."}]:
        refused[image] = f"{found.pop(image)[0]}: the file has no name to call its results by"
    names = _names(list(found), list(found.values()))
    inputs = [Input(name, image) for name, (image, _) in zip(names, found.values(), strict=True)]
    too_long = [one for one in inputs if len(f"{one.name}.png".encode()) > LONGEST]
    for one in too_long:
        refused[one.path] = f"{one.path}: its results would have a file name of more than {LONGEST} bytes"
    return [one for one in inputs if one not in too_long], list(refused.values())


def _images_of(path: Path) -> list[tuple[Path, Path]]:
    if path.is_dir():
        found = list_images(path, recursive=True)
        images = [image for image in found if not _is_result(image)]
        if not images:
            but = ", but what salvit explain has written" if found else ""
            raise FileNotFoundError(f"no image in the folder {printable(str(path))}, nor below it{but}")
        return [(image, image.relative_to(path)) for image in images]
    if not path.exists():
        raise FileNotFoundError(f"no image or folder {printable(str(path))}")
    return [(path, Path(path.name))]


def _is_result(image: Path) -> bool:
    return any(
        folder.name in (GRIDS, MAPS) and (folder.parent / RECORD).is_file() for folder in _real(image).parents
    )


def _real(path: Path) -> Path:
    """Where a path leads; unlike `Path.resolve` it takes links that lead back to themselves, which cannot be read."""
    return Path(os.path.realpath(path))


def _names(resolved: list[Path], found: list[tuple[Path, Path]]) -> list[str]:
    try:
        return unique_names([name for _, name in found])
    except ValueError:
        common = os.path.commonpath([path.parent for path in resolved])
        return unique_names([path.relative_to(common) for path in resolved])
