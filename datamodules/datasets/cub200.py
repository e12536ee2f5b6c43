"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011)."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datamodules.base import (
    Annotation,
    CorruptFileError,
    ExplanationDataModule,
    MaskReader,
    SaliencyDataset,
    Split,
    Splits,
    Stimulus,
    read_bright,
)


class CUB200DataModule(ExplanationDataModule):
    """CUB-200-2011: 5,994 train and 5,794 test images of 200 bird species, with one bird and one box each.

    ``val`` and ``predict`` are the test split. With the separate archive of segmentations, a sample has a ``mask``:
    the pixels whose grey level, the annotators' agreement, is above 127.

    Args:
        root: folder with ``CUB_200_2011``; by default the environment variable ``SALVIT_CUB200_ROOT``.
        **kwargs: as for :class:`datamodules.base.ExplanationDataModule`.
    """

    env = "SALVIT_CUB200_ROOT"
    splits: ClassVar[Splits] = {"train": "train", "val": "test", "test": "test", "predict": "test"}
    layout = (
        "  CUB_200_2011/images/<class>/<stem>.jpg\n"
        "  CUB_200_2011/{images,image_class_labels,classes,bounding_boxes,train_test_split}.txt\n"
        "  segmentations/<class>/<stem>.png, optional, there or in CUB_200_2011 (which may be the root)"
    )
    obtain = "https://data.caltech.edu/records/65de6-vp158"

    @property
    def folder(self) -> Path:
        """Folder of the tables and images."""
        return self.locate("CUB_200_2011") or self.root

    @property
    def class_names(self) -> list[str]:
        """Names of the species, in the order of their labels."""
        folders = self._table("classes").values()
        return [name.partition(".")[2].replace("_", " ") for name in folders]

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or test."""
        classes, images = len(self._table("classes")), self._table("images")
        labels, boxes, train = (
            self._numbers(name, images, columns)
            for name, columns in (("image_class_labels", 1), ("bounding_boxes", 4), ("train_test_split", 1))
        )
        if not np.isin(labels, np.arange(1, classes + 1)).all():
            raise CorruptFileError(f"{self.folder}/image_class_labels.txt: labels must be 1 to {classes}.")
        boxes[:, 2:] += boxes[:, :2]
        chosen = [
            Stimulus(
                Path(name).stem,
                self.folder / "images" / name,
                annotation=partial(Annotation, int(label[0]) - 1, box[None], label.astype(np.int64) - 1),
                mask=self._mask(name),
            )
            for name, label, box, in_train in zip(images.values(), labels, boxes, train[:, 0], strict=True)
            if bool(in_train) == (split == "train")
        ]
        self.require(stimulus.image for stimulus in chosen)
        return self.stimulus_dataset(chosen, split)

    def _mask(self, name: str) -> MaskReader | None:
        png = f"segmentations/{Path(name).with_suffix('.png')}"
        path = self.locate(png, f"CUB_200_2011/{png}")
        return None if path is None else partial(read_bright, path)

    def _table(self, name: str) -> dict[str, str]:
        """Values of a table by number, in order."""
        path = self.folder / f"{name}.txt"
        if not path.is_file():
            raise self.not_found(path, "no such file")
        try:
            rows = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
            table = {number: value.strip() for number, value in rows}
        except (ValueError, OSError) as error:
            raise CorruptFileError(f"{path}: expected lines of a number and a value ({error}).") from error
        if len(table) < len(rows):
            raise CorruptFileError(f"{path}: {len(rows) - len(table)} numbers occur twice.")
        return table

    def _numbers(self, name: str, images: Collection[str], columns: int) -> NDArray[np.float64]:
        """Numbers of every image, float64 [n, columns], in the order of ``images``."""
        path, table = self.folder / f"{name}.txt", self._table(name)
        if table.keys() != set(images):
            raise CorruptFileError(
                f"{path}: has {len(table)} rows, for {len(table.keys() & set(images))} of the {len(images)} images; "
                "expected one for each, as in images.txt."
            )
        try:
            rows = [[float(word) for word in table[image].split()] for image in images]
            return np.array(rows, np.float64).reshape(len(rows), columns)
        except ValueError as error:
            raise CorruptFileError(
                f"{path}: expected {columns + 1} numbers in each row ({error})."
            ) from error
