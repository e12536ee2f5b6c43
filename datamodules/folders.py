"""The image files of a folder, in the order people expect."""

import os
import re
from pathlib import Path
from typing import NoReturn

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings, in lower case, by which a file counts as an image."""


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which ``i2.jpg`` comes before ``i10.jpg``.

    Example:
        >>> [path.name for path in sorted(map(Path, ["i10.jpg", "i2.jpg", "a.jpg"]), key=natural_key)]
        ['a.jpg', 'i2.jpg', 'i10.jpg']
    """
    pieces = re.split(r"([0-9]+)", path.as_posix())
    return [(1, int(piece), piece) if place % 2 else (0, 0, piece) for place, piece in enumerate(pieces)]


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the image files of a folder in natural order; hidden files and folders are left out.

    Linked folders count as folders, each once. A link to a file that is missing is listed, so that it is missed when
    it is read and not passed over.

    Args:
        folder: where to look; one that does not exist has no images.
        recursive: look in its subfolders as well.

    Raises:
        PermissionError: if the folder, or one below it, cannot be read.
    """
    found: list[Path] = []
    if folder.is_dir():
        entered = {os.path.realpath(folder)}
        for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
            folders[:] = [name for name in sorted(folders) if recursive and _is_new(parent, name, entered)]
            found += [path for path in (Path(parent, name) for name in names) if _is_image(path)]
    return sorted(found, key=natural_key)


def _is_new(parent: str, name: str, entered: set[str]) -> bool:
    """Whether a folder is to be looked into, and has not been by another way: links may lead in circles."""
    place = os.path.realpath(Path(parent, name))
    if name.startswith(".") or place in entered:
        return False
    entered.add(place)
    return True


def _is_image(path: Path) -> bool:
    is_visible_image = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    return is_visible_image and (path.is_file() or path.is_symlink())


def _raise(error: OSError) -> NoReturn:
    raise error
