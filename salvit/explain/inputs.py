"""Which images to explain, and what to call each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.folders import list_images
from datamodules.image_folder import unique_names


class Input(NamedTuple):
    """An image file, and the name that its results go by."""

    name: str
    path: Path


def find_inputs(given: Sequence[Path], written: Sequence[Path] = ()) -> list[Input]:
    """List the images among files and folders, each once, in the order given.

    A name is the path below the folder given, as of `salvit predict`, or the file's own name; where two would
    agree, it is the path below the folder that all images have in common.

    Args:
        given: files, and folders to take with all below them.
        written: folders of results, whose pictures are no input when they lie in a folder given.

    Raises:
        FileNotFoundError: if one does not exist, or a folder has no image.
        ValueError: if two images would be named alike nonetheless.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    for path in given:
        for image, name in _images_of(path, written):
            found.setdefault(image.resolve(), (image, name))
    return [
        Input(name, image)
        for name, (image, _) in zip(_names(list(found), list(found.values())), found.values(), strict=True)
    ]


def _images_of(path: Path, written: Sequence[Path]) -> list[tuple[Path, Path]]:
    if path.is_dir():
        results = {folder.resolve() for folder in written}
        images = [
            image
            for image in list_images(path, recursive=True)
            if results.isdisjoint(image.resolve().parents)
        ]
        if not images:
            raise FileNotFoundError(f"no image in the folder {path}, nor below it")
        return [(image, image.relative_to(path)) for image in images]
    if not path.exists():
        raise FileNotFoundError(f"no image or folder {path}")
    return [(path, Path(path.name))]


def _names(resolved: list[Path], found: list[tuple[Path, Path]]) -> list[str]:
    try:
        return unique_names([name for _, name in found])
    except ValueError:
        common = os.path.commonpath([path.parent for path in resolved])
        return unique_names([path.relative_to(common) for path in resolved])
