"""The validation set of ILSVRC 2012 (Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge")."""

import csv
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from timm.data import ImageNetInfo

from datamodules.base import (
    Annotation,
    AnnotationReader,
    CorruptFileError,
    ExplanationDataModule,
    SaliencyDataset,
    Split,
    Splits,
    Stimulus,
    drawn,
    list_images,
    read_mat,
    read_objects,
)
from salvit.errors import InvalidValueError

_DATA = "ILSVRC2012_devkit_t12/data"


class ImageNetValDataModule(ExplanationDataModule):
    """ILSVRC 2012 val: 50,000 images of 1000 classes, with boxes; there is no train split.

    A label is the index of the class among the sorted wnids, as in every model's 1000 outputs. It is read from the
    image's folder, else ``LOC_val_solution.csv``, else the development kit, whose class numbers are translated. Boxes
    come from the XML files, else from the csv; without either there are none.

    Args:
        root: folder of the dataset; by default the environment variable ``SALVIT_IMAGENET_ROOT``.
        limit: number of images, drawn at random; None: all.
        seed: seed of the draw.
        **kwargs: as for :class:`datamodules.base.ExplanationDataModule`.

    Raises:
        ValueError: if ``limit`` is not positive.
    """

    env = "SALVIT_IMAGENET_ROOT"
    splits: ClassVar[Splits] = {"val": "val", "test": "val", "predict": "val"}
    layout = (
        "  val/ILSVRC2012_val_%08d.JPEG or val/<wnid>/….JPEG (or in Data/CLS-LOC/val)\n"
        "  Annotations/CLS-LOC/val/<stem>.xml: the boxes\n"
        "  for images that are not in folders: LOC_val_solution.csv, or\n"
        f"  {_DATA}/{{meta.mat,ILSVRC2012_validation_ground_truth.txt}}"
    )
    obtain = "https://image-net.org/download (registration needed)"

    def __init__(
        self, root: str | Path | None = None, limit: int | None = None, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        if limit is not None and limit < 1:
            raise InvalidValueError(f"limit must be at least 1, or None for all images, not {limit}.")
        self.limit = limit
        self.seed = seed

    @property
    def class_names(self) -> list[str]:
        """Names of the 1000 classes, in the order of their labels."""
        return list(ImageNetInfo().label_descriptions())

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of val."""
        folder = self._locate("val", "Data/CLS-LOC/val")
        images = {path.stem: path for path in list_images(folder, recursive=True)} if folder else {}
        if folder is None or not images:
            raise self.not_found(
                folder or self.root / "val", "no image in it" if folder else "no such folder"
            )
        stems = sorted(drawn(images, self.seed)[: self.limit])
        annotations = self._annotations({stem: images[stem] for stem in stems}, folder)
        return self.stimulus_dataset(
            [Stimulus(stem, images[stem], annotation=annotations[stem]) for stem in stems], split
        )

    def _annotations(self, images: dict[str, Path], folder: Path) -> dict[str, AnnotationReader]:
        """Readers of the label and the boxes of each image."""
        boxes, csv = self._locate("Annotations/CLS-LOC/val"), self._locate("LOC_val_solution.csv")
        solution = _read_solution(csv) if csv else {}
        if boxes:
            self.require(boxes / f"{stem}.xml" for stem in images)
        flat = {stem: path for stem, path in images.items() if path.parent == folder}
        kit = self._from_devkit(flat) if flat and not csv else {}

        def reader(stem: str, path: Path) -> AnnotationReader:
            objects = solution.get(stem, "")
            if stem not in flat:
                wnid, source = path.parent.name, path.parent
            elif csv:
                wnid, source = objects.strip().partition(" ")[0], csv
            else:
                wnid, source = kit[stem], self.root / _DATA
            return partial(_read_annotation, wnid, source, boxes and boxes / f"{stem}.xml", objects)

        return {stem: reader(stem, path) for stem, path in images.items()}

    def _from_devkit(self, images: dict[str, Path]) -> dict[str, str]:
        """Wnids of images by the number at the end of their names, the line in the ground truth."""
        data = self.root / _DATA
        files = [
            self.existing(data / name) for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
        ]
        truth = _read_ground_truth(*files)
        numbers = {stem: int(re.sub(r".*?(\d*)$", r"\1", stem) or 0) for stem in images}
        for stem, number in numbers.items():
            if not 1 <= number <= len(truth):
                raise CorruptFileError(
                    f"{files[1]}: has {len(truth)} lines, none of them "
                    f"for {images[stem]}; expected one for each image, in the order of their numbers."
                )
        return {stem: truth[number - 1] for stem, number in numbers.items()}

    def _locate(self, *places: str) -> Path | None:
        """Also look in the ``ILSVRC`` folder of Kaggle's archive."""
        return self.locate(*(prefix + place for place in places for prefix in ("", "ILSVRC/")))


@cache
def class_indices() -> Mapping[str, int]:
    """Index of each of the 1000 classes by its wnid.

    Example:
        >>> class_indices()["n01440764"], class_indices()["n15075141"]
        (0, 999)
    """
    return {wnid: index for index, wnid in enumerate(ImageNetInfo().label_names())}


def _read_solution(path: Path) -> dict[str, str]:
    """The objects of each image's stem in ``LOC_val_solution.csv``, "wnid x0 y0 x1 y1 wnid …"."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["ImageId"]: row["PredictionString"] or "" for row in csv.DictReader(file)}
    except (KeyError, ValueError, OSError, csv.Error) as error:
        raise CorruptFileError(
            f"{path}: expected a table with the columns ImageId and PredictionString "
            f"({type(error).__name__}: {error})."
        ) from error


def _read_ground_truth(meta: Path, truth: Path) -> list[str]:
    """Wnids of the validation images in order; ``meta`` maps the class numbers, which are not sorted by wnid."""
    synsets = read_mat(meta, "synsets", simplify_cells=True)["synsets"]
    try:
        wnids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in np.ravel(synsets)}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptFileError(
            f"{meta}: expected synsets with ILSVRC2012_ID and WNID ({error!r})."
        ) from error
    try:
        return [wnids[int(line)] for line in truth.read_text().rstrip().split("\n")]
    except (KeyError, ValueError, OSError) as error:
        raise CorruptFileError(
            f"{truth}: expected a number of a class of {meta} in each line ({error!r})."
        ) from error


def _read_annotation(wnid: str, source: Path, xml: Path | None, solution: str) -> Annotation:
    """Label of an image, and boxes of the XML file, else of the csv; ``source`` of the label is for the error."""
    if wnid not in class_indices():
        raise CorruptFileError(
            f"{source}: {wnid or 'nothing'} is no wnid of the 1000 classes of ILSVRC 2012."
        )
    if xml is None:
        return _parsed(wnid, source, solution)
    # Edges, 0-based: unlike in Pascal VOC there are boxes that begin at 0.
    return Annotation(class_indices()[wnid], *read_objects(xml, class_indices(), first=0))


def _parsed(wnid: str, source: Path, solution: str) -> Annotation:
    words = solution.split()
    try:
        boxes = np.array([word for index, word in enumerate(words) if index % 5], np.float64).reshape(-1, 4)
        labels = np.array([class_indices()[word] for word in words[::5]], np.int64)
        if len(labels) != len(boxes):
            raise InvalidValueError(f"{len(words)} words")
    except (KeyError, ValueError) as error:
        raise CorruptFileError(
            f"{source}: expected objects as 'wnid x0 y0 x1 y1 …', not {solution!r} ({error})."
        ) from error
    return Annotation(class_indices()[wnid], boxes, labels)
