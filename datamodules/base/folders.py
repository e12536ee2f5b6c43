"""Which images a folder has, what each is called, and how a dataset is divided into splits."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from natsort import natsorted
from PIL import Image, ImageFile

from salvit.errors import InvalidValueError

_PERHAPS_UNREADABLE = frozenset(
    {".heic", ".heif", ".hif", ".avif", ".jxl", ".webp", ".jp2", ".svg", ".exr", ".hdr", ".wmf", ".emf"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"}
)
"""Suffixes of pictures that Pillow reads with a plugin, in some builds, or not at all."""


def picture_suffixes() -> set[str]:
    """Suffixes, in lower case, by which a file counts as a picture: Pillow's, and those of pictures it may not read.

    Example:
        >>> {".jpe", ".tiff", ".heic"} <= picture_suffixes(), {".h5", ".mpg", ".txt"} & picture_suffixes()
        (True, set())
    """
    return {suffix for suffix, name in Image.registered_extensions().items() if _is_picture(name)} | set(
        _PERHAPS_UNREADABLE
    )


def _is_picture(name: str) -> bool:
    """Whether Pillow opens a format, and as more than a stub (HDF5) or a video (MPEG)."""
    kind = Image.OPEN[name][0] if name in Image.OPEN else None
    is_stub = isinstance(kind, type) and issubclass(kind, ImageFile.StubImageFile)
    return kind is not None and not is_stub and not Image.MIME.get(name, "").startswith("video/")


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the pictures of a folder in natural order (``i2.jpg`` before ``i10.jpg``), without hidden files and folders.

    What looks like a picture is listed also if it cannot be read, so that reading it says so: HEIC files without a
    plugin, links to files that are missing. Linked folders count as folders, each once.

    Args:
        folder: where to look; one that does not exist has no images.
        recursive: look in its subfolders as well.

    Raises:
        PermissionError: if the folder, or one below it, cannot be read.
    """
    found: list[Path] = []
    if folder.is_dir():
        suffixes, entered = picture_suffixes(), {os.path.realpath(folder)}
        for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
            folders[:] = [name for name in sorted(folders) if recursive and _is_new(parent, name, entered)]
            paths = [Path(parent, name) for name in names if not name.startswith(".")]
            found += [path for path in paths if path.suffix.lower() in suffixes]
    return natsorted((path for path in found if path.is_file() or path.is_symlink()), key=Path.as_posix)


def _is_new(parent: str, name: str, entered: set[str]) -> bool:
    """Whether a folder is to be looked into, and has not been by another way: links may lead in circles."""
    place = os.path.realpath(Path(parent, name))
    if name.startswith(".") or place in entered:
        return False
    entered.add(place)
    return True


def _raise(error: OSError) -> NoReturn:
    raise error


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name images so that no two write to the same file, also where upper and lower case are one.

    Args:
        paths: of the images, relative to their folder.

    Returns:
        The path without its suffix, folders joined by two underscores; where that is not unique, the suffix
        is kept, joined by one.

    Raises:
        ValueError: if two names still agree.

    Example:
        >>> unique_names([Path("a.jpg"), Path("a.png"), Path("b.jpg"), Path("cats/b.jpg")])
        ['a_jpg', 'a_png', 'b', 'cats__b']
    """
    names = ["__".join(path.with_suffix("").parts) for path in paths]
    count = Counter(name.casefold() for name in names)
    names = [
        name if count[name.casefold()] == 1 else f"{name}_{path.suffix[1:]}"
        for name, path in zip(names, paths, strict=True)
    ]
    count = Counter(name.casefold() for name in names)
    for name in names:
        if count[name.casefold()] > 1:
            pairs = zip(paths, names, strict=True)
            same = [str(path) for path, other in pairs if other.casefold() == name.casefold()]
            raise InvalidValueError(
                f"the images {', '.join(same)} would all be named {name!r}: rename all but one."
            )
    return names


def drawn(names: Iterable[str], seed: int) -> list[str]:
    """Put names into the order of a hash of seed and name.

    Unlike a shuffle it is the same with every version of every library, and whatever order the names come in.

    Example:
        >>> drawn(["cat", "dog", "owl"], seed=0) == drawn(["owl", "cat", "dog"], seed=0)
        True
    """
    return sorted(names, key=lambda name: sha256(f"{seed}:{name}".encode()).digest())


def divided(names: Iterable[str], seed: int, share: float) -> tuple[list[str], list[str]]:
    """Divide images into train and val by the order of a hash of seed and name.

    Args:
        names: of the images.
        seed: another one gives another split.
        share: of the images that are in train.

    Returns:
        The names of train and of val, each sorted.

    Example:
        >>> divided(["ant", "bee", "cat", "dog", "owl"], seed=0, share=0.8)
        (['ant', 'bee', 'dog', 'owl'], ['cat'])
    """
    ranked = drawn(names, seed)
    train = round(share * len(ranked))
    return sorted(ranked[:train]), sorted(ranked[train:])
