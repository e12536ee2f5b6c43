"""Where the cache is, what its files are called, and how large they are; nothing heavy is imported."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ABOUT = "about.json"
_ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
_FOLDER = re.compile(r"[0-9a-f]{16}")


def cache_folder() -> Path:
    """The folder of maps: `maps` in `SALVIT_CACHE`, or else in the user's cache, `~/.cache/salvit`.

    Example:
        >>> cache_folder().name
        'maps'
    """
    named = os.environ.get("SALVIT_CACHE")
    if named:
        return Path(named).expanduser() / "maps"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "salvit" / "maps"


class Cached(NamedTuple):
    """The maps of one model by one method.

    Attributes:
        folder: where they are.
        title: model and method, in words.
        code: hash of the salvit that made them; "" if unknown.
        images: number of images.
        bytes: size of all files.
    """

    folder: Path
    title: str
    code: str
    images: int
    bytes: int


def cached(folder: Path) -> Iterator[Cached]:
    """The entries of a folder of maps, sorted by title; none if there is no such folder."""
    found = [path for path in folder.glob("*") if _FOLDER.fullmatch(path.name) and path.is_dir()]
    yield from sorted(map(_read, found), key=lambda one: one.title)


def remove(folder: Path) -> None:
    """Delete what salvit wrote into the folder of one model and method, and the folder if it is then empty."""
    for path in folder.iterdir():
        if path.name == ABOUT or path.name.startswith(".part-") or _ENTRY.fullmatch(path.name):
            path.unlink(missing_ok=True)  # another process may prune as well
    if not any(folder.iterdir()):
        folder.rmdir()


def _read(folder: Path) -> Cached:
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        title, code = str(about["title"]), str(about["description"]["code"])
    except (OSError, ValueError, KeyError, TypeError):  # damaged: nobody knows what the maps are of
        title, code = "unknown", ""
    sizes = [path.stat().st_size for path in folder.iterdir() if _ENTRY.fullmatch(path.name)]
    return Cached(folder, title, code, len(sizes), sum(sizes))
