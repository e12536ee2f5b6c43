"""Images of a folder, unique names for them, and reproducible splits."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from operator import attrgetter
from pathlib import Path

from natsort import natsorted
from PIL import Image, ImageFile

from salvit.errors import InvalidValueError

_PERHAPS_UNREADABLE = frozenset(
    {".heic", ".heif", ".hif", ".avif", ".jxl", ".webp", ".jp2", ".svg", ".exr", ".hdr", ".wmf", ".emf"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"}
)
"""Suffixes of pictures that Pillow reads with a plugin, in some builds, or not at all."""


def picture_suffixes() -> set[str]:
    """Lower-case suffixes of picture files: those that Pillow reads, and some that it may not read.

    Example:
        >>> {".jpe", ".tiff", ".heic"} <= picture_suffixes(), {".h5", ".mpg", ".txt"} & picture_suffixes()
        (True, set())
    """
    return {suffix for suffix, name in Image.registered_extensions().items() if _is_picture(name)} | set(
        _PERHAPS_UNREADABLE
    )


def _is_picture(name: str) -> bool:
    """Whether Pillow decodes the format (HDF5 is a stub) and it is no video (MPEG)."""
    kind = Image.OPEN[name][0] if name in Image.OPEN else None
    is_stub = isinstance(kind, type) and issubclass(kind, ImageFile.StubImageFile)
    return kind is not None and not is_stub and not Image.MIME.get(name, "").startswith("video/")


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the pictures of a folder in natural order (``i2.jpg`` before ``i10.jpg``), without hidden files and folders.

    Pictures that Pillow may not read, broken links and links to themselves are listed too, so that reading them raises
    an error. Linked folders are visited once. A folder that does not exist has no images.

    Raises:
        PermissionError: if the folder, or one below it, cannot be read.
    """
    found, suffixes = [], picture_suffixes()
    waiting, entered = [folder] if folder.is_dir() else [], {os.path.realpath(folder)}
    while waiting:
        for entry in sorted(os.scandir(waiting.pop()), key=attrgetter("name")):
            path = Path(entry)
            if entry.name.startswith("."):
                continue
            if path.is_dir():  # not entry.is_dir, which raises for a link to itself
                if recursive and (place := os.path.realpath(path)) not in entered:  # links can form cycles
                    entered.add(place)
                    waiting.append(path)
            elif path.suffix.lower() in suffixes:
                found.append(path)
    return natsorted(found, key=Path.as_posix)


def printable(path: Path | str) -> str:
    r"""A path as text, with a question mark for each control character and each byte that is not UTF-8.

    Example:
        >>> printable("Größe.jpg"), printable("Gr\udcf6\udcdfe.jpg"), printable("a\r.jpg")
        ('Größe.jpg', 'Gr??e.jpg', 'a?.jpg')
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", str(path))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name images by their relative paths, so that no two names agree, upper and lower case being the same.

    A name is the path without suffix, folders joined by ``__``, as :func:`printable`. Where that is not unique, the
    suffix stays.

    Raises:
        ValueError: if two names still agree.

    Example:
        >>> unique_names([Path("a.jpg"), Path("a.png"), Path("b.jpg"), Path("cats/b.jpg")])
        ['a_jpg', 'a_png', 'b', 'cats__b']
    """
    names = [printable("__".join(path.with_suffix("").parts)) for path in paths]
    count = Counter(name.casefold() for name in names)
    names = [
        name if count[name.casefold()] == 1 else f"{name}_{path.suffix[1:]}"
        for name, path in zip(names, paths, strict=True)
    ]
    count = Counter(name.casefold() for name in names)
    for name in names:
        if count[name.casefold()] > 1:
            pairs = zip(paths, names, strict=True)
            same = [printable(path) for path, other in pairs if other.casefold() == name.casefold()]
            raise InvalidValueError(
                f"the images {', '.join(same)} would all be named {name!r}: rename all but one."
            )
    return names


def drawn(names: Iterable[str], seed: int) -> list[str]:
    """Sort names by a hash of seed and name: a shuffle that no library version and no input order changes.

    Example:
        >>> drawn(["cat", "dog", "owl"], seed=0) == drawn(["owl", "cat", "dog"], seed=0)
        True
    """
    return sorted(names, key=lambda name: sha256(f"{seed}:{name}".encode()).digest())


def divided(names: Iterable[str], seed: int, share: float) -> tuple[list[str], list[str]]:
    """Divide names into train, a fraction ``share``, and val, in the order of :func:`drawn`; both are sorted.

    Example:
        >>> divided(["ant", "bee", "cat", "dog", "owl"], seed=0, share=0.8)
        (['ant', 'bee', 'dog', 'owl'], ['cat'])
    """
    ranked = drawn(names, seed)
    train = round(share * len(ranked))
    return sorted(ranked[:train]), sorted(ranked[train:])
