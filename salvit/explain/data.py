"""The images to explain, and in which batches: a batch is some images and the one map that each of them gets."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.base import (
    CorruptFileError,
    Stimulus,
    list_images,
    read_image,
    read_size,
    to_tensor,
    unique_names,
)
from salvit.errors import MissingFileError
from salvit.extractors.spelling import file_name
from salvit.results.files import file_hash

LONGEST_SIDE = 1024
"""Of an overlay, in pixels; a larger image is shown smaller."""
GRIDS, MAPS, RECORD = "grids", "maps", "explain.json"


def find_images(given: Sequence[Path]) -> list[Stimulus]:
    """List the images among files and folders, each once, in the order given.

    An image is named by its path below the folder given, as by `salvit predict`, or by its file name; where two names
    would be the same, by the path below the folder that all images have in common. Pictures that this command has
    written are left out where they lie in a folder given.

    Raises:
        OSError: if a file is missing, or a folder has no image.
        ValueError: if two images would still have the same name.
    """
    found: dict[str, tuple[Path, Path]] = {}  # by real path: the image, and the path that names it
    for path in given:
        for image in _images_of(path):
            name = image.relative_to(path) if path.is_dir() else Path(image.name)
            found.setdefault(os.path.realpath(image), (image, name))
    try:
        names = unique_names([name for _, name in found.values()])
    except ValueError:
        common = os.path.commonpath([os.path.dirname(place) for place in found])  # noqa: PTH120
        names = unique_names([Path(os.path.relpath(place, common)) for place in found])
    return [Stimulus(name, image) for name, (image, _) in zip(names, found.values(), strict=True)]


def _images_of(path: Path) -> list[Path]:
    if not path.exists():
        raise MissingFileError(f"no image or folder {path}")
    if not path.is_dir():
        return [path]
    found = list_images(path, recursive=True)
    images = [image for image in found if not _is_result(image)]
    if not images:
        but = ", but what salvit explain has written" if found else ""
        raise MissingFileError(f"no image in the folder {path}, nor below it{but}")
    return images


def _is_result(image: Path) -> bool:
    folders = Path(os.path.realpath(image)).parents
    return any(one.name in (GRIDS, MAPS) and (one.parent / RECORD).is_file() for one in folders)


class Step(NamedTuple):
    """A map that every image gets.

    Attributes:
        method: its spelling.
        target: the class that was typed; None for the predicted one, or if the method explains no class.
        passes: forward passes per image.
        code: identifies the method's code; for a user's class with the hash of its file.
    """

    method: str
    target: int | None
    passes: int
    code: str

    def stem(self, name: str) -> str:
        """The files of an image's map, by the image's name: without suffix, below the folder of results."""
        return f"{MAPS}/{name}/{file_name(self.method)}" + ("" if self.target is None else f"_{self.target}")


class Photo(NamedTuple):
    """An image that was read.

    Attributes:
        name: of its results.
        path: of its file.
        size: native (height, width).
        pixels: float32 [3, H, W] in [0, 1], squashed to the model's input size.
        shown: float32 [3, h, w] in [0, 1], at the image's proportions, for overlays.
        sha256: of the file.
    """

    name: str
    path: Path
    size: tuple[int, int]
    pixels: Tensor
    shown: Tensor
    sha256: str

    @classmethod
    def read(cls, image: Stimulus, size: tuple[int, int]) -> "Photo":
        """Read an image for a model's input of (height, width); CorruptFileError if that is not possible."""
        native = read_size(image.image)
        shrink = min(1.0, LONGEST_SIDE / max(native))
        height, width = (max(1, round(side * shrink)) for side in native)
        picture = read_image(image.image, least=(max(height, size[0]), max(width, size[1])))
        pixels, shown = to_tensor(picture, size), to_tensor(picture, (height, width))
        return cls(image.name, image.image, native, pixels, shown, file_hash(image.image))


class MissingMaps(LightningDataModule):
    """The maps to make: a few images at a time, one method and class after the other.

    A batch has the `photos`, their `image` float32 [B, 3, H, W] and `name`, the `step`, its `method` and `target`.

    Args:
        images: the images.
        missing: the maps that each image still needs, by its name.
        size: (height, width) of the model's input.
        batch_size: images at a time; always one for a method that takes several forward passes.

    Attributes:
        failures: why images could not be read.
    """

    def __init__(
        self,
        images: Sequence[Stimulus],
        missing: Mapping[str, Sequence[Step]],
        size: tuple[int, int],
        batch_size: int,
    ) -> None:
        super().__init__()
        self.images = [image for image in images if missing[image.name]]
        self.missing = missing
        self.size = size
        self.batch_size = batch_size
        self.failures: list[str] = []

    def predict_dataloader(self) -> Iterator[dict[str, Any]]:
        """The batches, without images that cannot be read; reading takes no time beside what is computed."""
        for start in range(0, len(self.images), self.batch_size):
            group = list(filter(None, map(self._read, self.images[start : start + self.batch_size])))
            for step in dict.fromkeys(step for photo in group for step in self.missing[photo.name]):
                photos = [photo for photo in group if step in self.missing[photo.name]]
                for part in [photos] if step.passes == 1 else [[photo] for photo in photos]:
                    image = torch.stack([photo.pixels for photo in part])
                    about = {"step": step, "method": step.method, "target": step.target}
                    yield {"image": image, "name": [photo.name for photo in part], "photos": part, **about}

    def _read(self, image: Stimulus) -> Photo | None:
        try:
            return Photo.read(image, self.size)
        except CorruptFileError as error:
            cause = error.__cause__
            # Without the remedy for datasets, on_error='skip'.
            reason = f"{image.image}: cannot read the image ({type(cause).__name__}: {cause})"
            self.failures.append(reason if cause else str(error))
            return None
