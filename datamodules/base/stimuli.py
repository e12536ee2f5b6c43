"""A dataset of images on disk with their fixations, densities, labels, boxes and masks."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base.dataset import CorruptFileError, SaliencyDataset, Sample, Size, track
from datamodules.base.fixations import fixation_density, inside
from datamodules.base.images import read_density, read_image, read_size, to_tensor
from datamodules.base.view import AnnotationReader, Resize, View, see_boxes, squash
from salvit.errors import InvalidValueError

FixationReader: TypeAlias = Callable[[Size], NDArray[np.float64]]
"""Takes the image's (height, width); returns [n, 2] of (x, y) as recorded: 0-based, perhaps outside the image."""
ObserverReader: TypeAlias = Callable[[Size], list[NDArray[np.float64]]]
"""As `FixationReader`, one array per observer."""
MaskReader: TypeAlias = Callable[[Size], NDArray[np.bool_]]
"""Takes the image's (height, width); returns [H0, W0], True on the object."""


@dataclass(frozen=True)
class Stimulus:
    """One image of a dataset and its annotations; None for what the dataset does not have.

    Attributes:
        name: unique in the dataset, usually the file stem.
        image: the image file.
        fixations: reads the fixations, where those of each observer are not known.
        density: file of the density map; without it the density is computed from the fixations.
        label: class index; None also if the annotation has it.
        annotation: reads label and boxes.
        mask: reads which pixels show the object.
        distractors: reads which pixels show the items among which ``mask`` is the odd one.
        category: the kind of image.
        observers: reads the fixations of each observer.
    """

    name: str
    image: Path
    fixations: FixationReader | None = None
    density: Path | None = None
    label: int | None = None
    annotation: AnnotationReader | None = None
    mask: MaskReader | None = None
    distractors: MaskReader | None = None
    category: str | None = None
    observers: ObserverReader | None = None


@dataclass(eq=False, repr=False)
class StimulusDataset(SaliencyDataset):
    """Dataset of stimuli on disk. Fixations and native sizes stay in memory once read.

    Args:
        stimuli: the images in order.
        image_size: (height, width) of the images in a sample.
        sigma: standard deviation in native pixels of the Gaussian for stimuli without a density map.
        resize: how the image, its boxes and its mask are resized.
        classes: number of classes; adds ``labels``, all classes in the image, to a sample.
    """

    stimuli: Sequence[Stimulus]
    image_size: Size
    sigma: float | None = None
    resize: Resize = squash
    classes: int | None = None

    def __post_init__(self) -> None:
        self.has_masks = any(stimulus.mask is not None for stimulus in self.stimuli)
        self._sizes: dict[int, Size] = {}
        self._fixations: dict[int, tuple[Tensor, int]] = {}

    def __len__(self) -> int:
        """Number of images."""
        return len(self.stimuli)

    def __getitem__(self, index: int) -> Sample:
        """Sample at an index.

        Raises:
            CorruptFileError: if a file of the stimulus cannot be used.
        """
        stimulus = self.stimuli[index]
        view = self.view(index)
        image = read_image(stimulus.image, stimulus.annotation is None, least=view.scaled)
        sample: Sample = {
            "image": view.image(image),
            "size": view.native,
            "name": stimulus.name,
            "index": index,
        }
        if stimulus.label is not None:
            sample["label"] = stimulus.label
        if stimulus.fixations or stimulus.observers:
            sample["fixations"] = self.fixations(index)
            sample["density"] = self.density(index)
        if stimulus.annotation is not None:
            sample |= self._annotated(stimulus.annotation, view)
        if stimulus.category is not None:
            sample["category"] = stimulus.category
        mask = None if stimulus.mask is None else stimulus.mask(view.native)
        if self.has_masks:
            sample["mask"] = None if mask is None else view.mask(mask)
        if mask is not None and stimulus.distractors is not None:
            sample["target"] = torch.from_numpy(mask)
            sample["distractors"] = torch.from_numpy(stimulus.distractors(view.native))
        return sample

    def original(self, index: int) -> Tensor:
        """The whole image at its native size: float32 [3, H0, W0] in [0, 1]."""
        stimulus = self.stimuli[index]
        image = read_image(stimulus.image, upright=stimulus.annotation is None)
        return to_tensor(image, (image.height, image.width))

    def name(self, index: int) -> str:
        """Name of the stimulus; no file is read."""
        return self.stimuli[index].name

    def view(self, index: int) -> View:
        """How an image is resized and cropped."""
        return self.resize(self.size(index), self.image_size)

    def box_counts(self) -> Counter[str]:
        """Counts of the boxes of all images that are changed or left out; no image is decoded."""
        counts: Counter[str] = Counter()
        for index, stimulus in enumerate(track(self.stimuli, "reading boxes", len(self))):
            if stimulus.annotation is not None:
                counts += see_boxes(stimulus.annotation(), self.view(index)).counts
        return counts

    def fingerprint(self) -> str:
        """Hash of the images' names, sizes in bytes and modification times; no image is read."""
        digest = hashlib.sha256()
        for stimulus in self.stimuli:
            about = stimulus.image.stat()
            digest.update(f"{stimulus.name} {about.st_size} {about.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def size(self, index: int) -> Size:
        """Native (height, width), from the image's header."""
        if index not in self._sizes:
            stimulus = self.stimuli[index]
            self._sizes[index] = read_size(stimulus.image, upright=stimulus.annotation is None)
        return self._sizes[index]

    def fixations(self, index: int) -> Tensor:
        """Fixations inside the image: float32 [n, 2] of (x, y)."""
        return self._read_fixations(index)[0]

    def observers(self, index: int) -> list[Tensor] | None:
        """Fixations of each observer inside the image, float32 [n_i, 2]; read again on each call."""
        reader, size = self.stimuli[index].observers, self.size(index)
        if reader is None:
            return None
        return [torch.from_numpy(inside(points, size).astype(np.float32)) for points in reader(size)]

    def dropped_fixations(self, index: int) -> int:
        """Number of recorded fixations outside the image."""
        return self._read_fixations(index)[1]

    def density(self, index: int) -> Tensor:
        """Density map from its file, or computed from the fixations: float32 [H0, W0].

        Raises:
            CorruptFileError: if the map and the image have different sizes.
        """
        stimulus, size = self.stimuli[index], self.size(index)
        if stimulus.density is None:
            fixations = self.fixations(index)
            if self.sigma is None:
                raise InvalidValueError(
                    f"{stimulus.name} has no density map: give the sigma to compute it with."
                )
            return fixation_density(fixations, size, self.sigma)
        density = read_density(stimulus.density)
        if tuple(density.shape) != size:
            raise CorruptFileError(
                f"{stimulus.density}: the map is {density.shape[0]}×{density.shape[1]} but its image "
                f"{stimulus.image} is {size[0]}×{size[1]} (height×width); they must agree."
            )
        return density

    def _annotated(self, read: AnnotationReader, view: View) -> Sample:
        annotation = read()
        boxes, labels, _ = see_boxes(annotation, view)
        sample: Sample = {"label": annotation.label, "boxes": boxes, "box_labels": labels}
        if self.classes is not None:
            sample["labels"] = torch.zeros(self.classes)
            sample["labels"][torch.from_numpy(annotation.box_labels)] = 1
        return sample

    def _read_fixations(self, index: int) -> tuple[Tensor, int]:
        if index not in self._fixations:
            stimulus, size = self.stimuli[index], self.size(index)
            if stimulus.observers:
                recorded = np.concatenate([np.empty((0, 2)), *stimulus.observers(size)])
            elif stimulus.fixations:
                recorded = stimulus.fixations(size)
            else:
                raise InvalidValueError(f"{stimulus.name} has no fixations: no saliency can be scored on it.")
            kept = inside(recorded, size)
            self._fixations[index] = torch.from_numpy(kept.astype(np.float32)), len(recorded) - len(kept)
        return self._fixations[index]
