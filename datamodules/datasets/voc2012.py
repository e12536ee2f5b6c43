"""Pascal VOC 2012 (Everingham et al. 2012, "The PASCAL Visual Object Classes Challenge 2012")."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.base import (
    TEST_IS_VAL,
    Annotation,
    AnnotationReader,
    CorruptFileError,
    ExplanationDataModule,
    SaliencyDataset,
    Split,
    Stimulus,
    read_mask,
    read_objects,
    track,
)
from salvit.errors import InvalidValueError

# fmt: off
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
_INDEX = {name: index for index, name in enumerate(CLASSES)}
Choice = Literal["single", "multi", "all"]


class VOC2012DataModule(ExplanationDataModule):
    """Pascal VOC 2012: 5,717 train and 5,823 val images of 20 classes; ``test`` and ``predict`` are val.

    The label is the class of the largest box; ``labels`` has all classes in the image. Objects marked difficult
    count too. Images of the segmentation task have a ``mask`` of the label's class, without the void border.

    Args:
        root: folder with ``VOCdevkit``; by default the environment variable ``SALVIT_VOC2012_ROOT``.
        classes: images with objects of a "single" class, of several ("multi"), or "all".
        **kwargs: as for :class:`datamodules.base.ExplanationDataModule`.
    """

    env = "SALVIT_VOC2012_ROOT"
    splits = TEST_IS_VAL
    layout = (
        "  VOCdevkit/VOC2012/JPEGImages/<stem>.jpg\n  VOCdevkit/VOC2012/Annotations/<stem>.xml\n"
        "  VOCdevkit/VOC2012/ImageSets/Main/{train,val}.txt\n"
        "  VOCdevkit/VOC2012/SegmentationClass/<stem>.png of some (VOC2012, or its folders, may be the root)"
    )
    obtain = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (training/validation data)"
    class_names = CLASSES

    def __init__(self, root: str | Path | None = None, classes: Choice = "single", **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        if classes not in ("single", "multi", "all"):
            raise InvalidValueError(f"classes must be 'single', 'multi' or 'all', not {classes!r}.")
        self.classes = classes

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val."""
        folder = self.locate("VOCdevkit/VOC2012", "VOC2012") or self.root
        names = self.existing(folder / f"ImageSets/Main/{split}.txt")
        stems = names.read_text().split()
        for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            self.require(folder / kind / f"{stem}.{suffix}" for stem in stems)
        stimuli = [_stimulus(folder, stem) for stem in stems]
        chosen = [item for item in track(stimuli, "reading annotations", len(stimuli)) if self._wanted(item)]
        self.notes = [f"{len(stimuli) - len(chosen)} images left out by classes={self.classes}"]
        if not chosen:
            raise self.not_found(f"an image with {self.classes} classes in {names}", "there is none")
        return self.stimulus_dataset(chosen, split, classes=len(CLASSES))

    def _wanted(self, stimulus: Stimulus) -> bool:
        assert stimulus.annotation is not None
        try:
            several = len(np.unique(stimulus.annotation().box_labels)) > 1
        except CorruptFileError:
            return True  # so that it stops the run, or is left out and counted, like any other bad file
        return self.classes == "all" or several == (self.classes == "multi")


def _stimulus(folder: Path, stem: str) -> Stimulus:
    read: AnnotationReader = partial(_read_annotation, folder / f"Annotations/{stem}.xml")
    png = folder / f"SegmentationClass/{stem}.png"
    mask = partial(_read_class_mask, png, read) if png.is_file() else None
    return Stimulus(stem, folder / f"JPEGImages/{stem}.jpg", annotation=read, mask=mask)


def _read_annotation(path: Path) -> Annotation:
    """The label and the boxes of an image; an image without objects has no label."""
    boxes, labels, size = read_objects(path, _INDEX, first=1)
    if not len(labels):
        raise CorruptFileError(f"{path}: names no object, so that its image has no label.")
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return Annotation(int(labels[areas.argmax()]), boxes, labels, size)


def _read_class_mask(path: Path, read: AnnotationReader, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of the label's class: palette index 1 + class; 0 is background, 255 the void border."""
    return read_mask(path, size, read().label + 1)
