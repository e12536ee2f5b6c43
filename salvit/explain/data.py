"""The images to explain, and in which batches: a batch is some images and the one map that each of them gets."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import IterableDataset

from datamodules.base import CorruptFileError, Size, list_images, read_image, to_tensor, unique_names
from salvit.callbacks.provenance import file_hash
from salvit.errors import MissingFileError
from salvit.extractors import Extractor
from salvit.extractors.spelling import file_name
from salvit.results.atomic import output_path

LONGEST_SIDE = 1024
"""Of an overlay, in pixels; a larger image is shown smaller."""
GRIDS, MAPS, RECORD = "grids", "maps", "explain.json"


class Input(NamedTuple):
    """An image file, and the name of its results."""

    name: str
    path: Path


def find_inputs(given: Sequence[Path]) -> list[Input]:
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
            found.setdefault(os.path.realpath(image), (image, Path(printable(name))))
    try:
        names = unique_names([name for _, name in found.values()])
    except ValueError:
        common = os.path.commonpath([os.path.dirname(place) for place in found])  # noqa: PTH120
        names = unique_names([Path(printable(os.path.relpath(place, common))) for place in found])
    for unique in names:
        output_path(MAPS, unique, "")  # raises if that leads out of the folder
    return [Input(name, image) for name, (image, _) in zip(names, found.values(), strict=True)]


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


def printable(path: Path | str) -> str:
    r"""A path as text, with a question mark in the place of each byte that is not UTF-8.

    Example:
        >>> printable("Größe.jpg"), printable("Gr\udcf6\udcdfe.jpg")
        ('Größe.jpg', 'Gr??e.jpg')
    """
    return str(path).encode(errors="replace").decode()


class Step(NamedTuple):
    """A map that every image gets.

    Attributes:
        method: its spelling.
        extractor: of the method.
        target: the class that was typed; None for the predicted one, or if the method explains no class.
        passes: forward passes per image.
        code: identifies the method's code; for a user's class with the hash of its file.
    """

    method: str
    extractor: Extractor
    target: int | None
    passes: int
    code: str

    @property
    def stem(self) -> str:
        """Name of its files, without suffix."""
        return file_name(self.method) + ("" if self.target is None else f"_{self.target}")


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
    size: Size
    pixels: Tensor
    shown: Tensor
    sha256: str


class Batch(NamedTuple):
    """Images that get the same map, and how many there are with those that cannot be read."""

    step: Step
    photos: list[Photo]
    images: int


class Batches(IterableDataset[Batch]):
    """The missing maps: a few images at a time, one method and class after the other.

    Args:
        missing: the maps that each image still needs.
        size: (height, width) of the model's input.
        batch_size: images at a time; always one for a method that takes several forward passes.

    Attributes:
        failures: by image, why it cannot be read.
    """

    def __init__(self, missing: Mapping[Input, Sequence[Step]], size: Size, batch_size: int) -> None:
        self.missing = {one: steps for one, steps in missing.items() if steps}
        self.size = size
        self.batch_size = batch_size
        self.failures: dict[Input, str] = {}

    def __iter__(self) -> Iterator[Batch]:
        """The batches, without the images that cannot be read."""
        for group in _parts(list(self.missing), self.batch_size):
            photos = {one: self._read(one) for one in group}  # kept until all their maps are made
            for step in dict.fromkeys(step for one in group for step in self.missing[one]):
                inputs = [one for one in group if step in self.missing[one]]
                for part in _parts(inputs, 1 if step.passes > 1 else self.batch_size):
                    yield Batch(step, [photo for one in part if (photo := photos[one])], len(part))

    def _read(self, source: Input) -> Photo | None:
        try:
            return read_photo(source, self.size)
        except CorruptFileError as error:
            self.failures[source] = str(error)
            return None


def read_photo(source: Input, size: Size) -> Photo:
    """Read an image for a model's input of (height, width).

    Raises:
        CorruptFileError: if the image cannot be read.
    """
    try:
        image = read_image(source.path)
    except CorruptFileError as error:
        cause = error.__cause__
        if cause is None:
            raise
        # Without the remedy for datasets, on_error='skip'.
        reason = f"{type(cause).__name__}: {cause}"
        raise CorruptFileError(f"{source.path}: cannot read the image ({reason})") from cause
    native = (image.height, image.width)
    shrink = min(1.0, LONGEST_SIDE / max(native))
    shown = to_tensor(image, (max(1, round(native[0] * shrink)), max(1, round(native[1] * shrink))))
    return Photo(*source, native, to_tensor(image, size), shown, file_hash(source.path))


def _parts(inputs: list[Input], size: int) -> list[list[Input]]:
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]
