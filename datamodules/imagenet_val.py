"""The validation set of ILSVRC 2012 (Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge")."""

import re
from functools import partial
from pathlib import Path
from typing import Any

from datamodules.base import Split
from datamodules.boxes import AnnotationReader
from datamodules.dataset import SaliencyDataset
from datamodules.draw import drawn
from datamodules.errors import CorruptFileError
from datamodules.explanation import ExplanationDataModule
from datamodules.folders import list_images
from datamodules.imagenet_files import (
    class_names,
    read_annotation,
    read_ground_truth,
    read_solution,
)
from datamodules.stimuli import Stimulus

_DATA = "ILSVRC2012_devkit_t12/data"


class ImageNetValDataModule(ExplanationDataModule):
    """ILSVRC 2012 val: 50,000 images of 1000 classes, with boxes; there is no train split.

    The label is the class' index among the sorted wnids, the order of every model's 1000 outputs. It is that
    of the image's folder, or is read from ``LOC_val_solution.csv`` or from the development kit, whose own
    numbers are in another order. Without a folder of boxes they are the csv's; without either there are none.

    Args:
        root: folder of the dataset; by default the environment variable ``SALVIT_IMAGENET_ROOT``.
        limit: only so many images, drawn at random; None: all.
        seed: which ones.
        **kwargs: as for :class:`datamodules.explanation.ExplanationDataModule`.

    Raises:
        ValueError: if ``limit`` is not positive.
    """

    env = "SALVIT_IMAGENET_ROOT"
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
            raise ValueError(f"limit must be at least 1, or None for all images, not {limit}.")
        self.limit = limit
        self.seed = seed

    @property
    def class_names(self) -> list[str]:
        """Names of the 1000 classes, in the order of their labels."""
        return class_names()

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of val, whatever is asked for.

        Raises:
            ValueError: for train.
        """
        if split == "train":
            raise ValueError("ImageNetVal has no train split: use `salvit validate`, `test` or `predict`.")
        return super().dataset("val")

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of val.

        Raises:
            DatasetNotFoundError: if images or labels are missing.
            CorruptFileError: if the labels cannot be read.
        """
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
        """How to read label and boxes of each image."""
        boxes, csv = self._locate("Annotations/CLS-LOC/val"), self._locate("LOC_val_solution.csv")
        solution = read_solution(csv) if csv else {}
        if boxes:
            self.require(boxes / f"{stem}.xml" for stem in images)
        sources = {stem: path.parent for stem, path in images.items() if path.parent != folder}
        wnids = {stem: source.name for stem, source in sources.items()}
        flat = {stem: path for stem, path in images.items() if stem not in wnids}
        if flat and csv:
            sources |= dict.fromkeys(flat, csv)
            wnids |= {stem: "".join(solution.get(stem, "").split()[:1]) for stem in flat}
        elif flat:
            sources |= dict.fromkeys(flat, self.root / _DATA)
            wnids |= self._from_devkit(flat)
        return {
            stem: partial(
                read_annotation,
                wnids[stem],
                sources[stem],
                boxes and boxes / f"{stem}.xml",
                solution.get(stem, ""),
            )
            for stem in images
        }

    def _from_devkit(self, images: dict[str, Path]) -> dict[str, str]:
        """The wnids of images by the number at the end of their names, which is that of a line."""
        data = self.root / _DATA
        for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
            if not (data / name).is_file():
                raise self.not_found(data / name, "nor a folder per class or LOC_val_solution.csv")
        truth = read_ground_truth(data)
        numbers = {stem: int(re.sub(r".*?(\d*)$", r"\1", stem) or 0) for stem in images}
        for stem, number in numbers.items():
            if not 1 <= number <= len(truth):
                raise CorruptFileError(
                    f"{data / 'ILSVRC2012_validation_ground_truth.txt'}: has {len(truth)} lines, none of them "
                    f"for {images[stem]}; expected one for each image, in the order of their numbers."
                )
        return {stem: truth[number - 1] for stem, number in numbers.items()}

    def _locate(self, *places: str) -> Path | None:
        """Also in the ``ILSVRC`` folder of the archive at Kaggle."""
        return self.locate(*(prefix + place for place in places for prefix in ("", "ILSVRC/")))
