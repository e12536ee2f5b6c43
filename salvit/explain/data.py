"""The images to explain, and in which batches: each is some images and the one map that each of them is to get."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import CorruptFileError, Size, read_image, to_tensor
from salvit.explain.inputs import Input
from salvit.extractors import Extractor
from salvit.extractors.spelling import file_name
from salvit.results.source import code_of
from salvit.vit import ViT

LONGEST_SIDE = 1024
"""Of a picture, in pixels; a larger image is shown smaller."""


class Step(NamedTuple):
    """A map that every image gets.

    Attributes:
        method: as it is spelt.
        extractor: of the method.
        target: the class that was asked for; None for the predicted one, or of a method that explains no class.
        passes: forward passes per image.
        code: the method's, of a class of your own with its hash.
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


def make_steps(vit: ViT, methods: Mapping[str, Extractor], targets: Sequence[int]) -> list[Step]:
    """The maps that every image gets: of methods that explain a class one for each target."""
    return [
        Step(name, extractor, target, extractor.forward_passes(vit), code_of(extractor))
        for name, extractor in methods.items()
        for target in (targets if targets and extractor.class_specific else [None])
    ]


class Photo(NamedTuple):
    """An image that was read.

    Attributes:
        name: of its results.
        path: of its file.
        size: native (height, width).
        pixels: float32 [3, H, W] in [0, 1], squashed to the model's input size.
        shown: float32 [3, h, w] in [0, 1], at its own proportions, for pictures.
        sha256: of the file.
    """

    name: str
    path: Path
    size: Size
    pixels: Tensor
    shown: Tensor
    sha256: str


class Batch(NamedTuple):
    """Images that get the same map, and how many they were with those that cannot be read."""

    step: Step
    photos: list[Photo]
    images: int


class Batches(Dataset[Batch]):
    """The maps that are missing: for a few images at a time, one method and class after the other.

    Args:
        missing: the maps that each image is to get.
        size: (height, width) of the model's input.
        batch_size: images at a time; of a method that takes many forward passes for each, one.

    Attributes:
        failures: why images cannot be read, each beginning with the path.
    """

    def __init__(self, missing: Mapping[Input, Sequence[Step]], size: Size, batch_size: int) -> None:
        self.size = size
        self.failures: list[str] = []
        self._photos: dict[Input, Photo | None] = {}
        self._batches: list[tuple[list[Input], Step, list[Input]]] = []
        unfinished = [one for one in missing if missing[one]]
        for group in _parts(unfinished, batch_size):
            for step in dict.fromkeys(step for one in group for step in missing[one]):
                wanting = [one for one in group if step in missing[one]]
                for part in _parts(wanting, 1 if step.passes > 1 else batch_size):
                    self._batches.append((group, step, part))

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        """The images of a batch; they are kept until all their maps are made."""
        group, step, inputs = self._batches[index]
        self._photos = {one: photo for one, photo in self._photos.items() if one in group}
        for one in inputs:
            if one not in self._photos:
                self._photos[one] = self._read(one)
        return Batch(step, [photo for one in inputs if (photo := self._photos[one])], len(inputs))

    def _read(self, source: Input) -> Photo | None:
        try:
            return read_photo(source, self.size)
        except CorruptFileError as error:
            self.failures.append(str(error))
            return None


def read_photo(source: Input, size: Size) -> Photo:
    """Read an image for a model's input of a (height, width); CorruptFileError if that fails."""
    try:
        image = read_image(source.path)
    except CorruptFileError as error:
        cause = error.__cause__
        if cause is None:
            raise
        # Without the remedy of datasets, on_error='skip'.
        raise CorruptFileError(
            f"{source.path}: cannot read the image ({type(cause).__name__}: {cause})"
        ) from cause
    native = (image.height, image.width)
    shrink = min(1.0, LONGEST_SIDE / max(native))
    shown = to_tensor(image, (max(1, round(native[0] * shrink)), max(1, round(native[1] * shrink))))
    return Photo(source.name, source.path, native, to_tensor(image, size), shown, file_hash(source.path))


def file_hash(path: Path) -> str:
    """The SHA-256 of a file: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(inputs: list[Input], size: int) -> list[list[Input]]:
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]
