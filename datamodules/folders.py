"""The image files of a folder, in the order people expect."""

import re
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings, in lower case, by which a file counts as an image."""


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which ``i2.jpg`` comes before ``i10.jpg``.

    Example:
        >>> [path.name for path in sorted(map(Path, ["i10.jpg", "i2.jpg", "a.jpg"]), key=natural_key)]
        ['a.jpg', 'i2.jpg', 'i10.jpg']
    """
    pieces = re.split(r"([0-9]+)", path.as_posix())
    return [(1, int(piece), piece) if piece.isdigit() else (0, 0, piece) for piece in pieces]


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the image files of a folder in natural order; hidden files and folders are left out.

    Args:
        folder: where to look; one that does not exist has no images.
        recursive: look in its subfolders as well.
    """
    found = folder.rglob("*") if recursive else folder.glob("*")
    return sorted((path for path in found if _is_image(path, folder)), key=natural_key)


def _is_image(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()
