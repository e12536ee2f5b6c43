"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011)."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import Split
from datamodules.boxes import Annotation
from datamodules.cub200_files import read_numbers, read_table
from datamodules.dataset import SaliencyDataset
from datamodules.errors import CorruptFileError
from datamodules.explanation import ExplanationDataModule
from datamodules.images import read_mask
from datamodules.stimuli import MaskReader, Stimulus


class CUB200DataModule(ExplanationDataModule):
    """CUB-200-2011: 5,994 train and 5,794 test images of 200 bird species, one bird and box in each.

    ``val`` and ``predict`` are the test split. Where the separate archive of segmentations is there, a sample
    has a ``mask``: the pixels whose grey level, the annotators' agreement, is above 127.

    Args:
        root: folder with ``CUB_200_2011``; by default the environment variable ``SALVIT_CUB200_ROOT``.
        **kwargs: as for :class:`datamodules.explanation.ExplanationDataModule`.
    """

    env = "SALVIT_CUB200_ROOT"
    layout = (
        "  CUB_200_2011/images/<class>/<stem>.jpg\n"
        "  CUB_200_2011/{images,image_class_labels,classes,bounding_boxes,train_test_split}.txt\n"
        "  segmentations/<class>/<stem>.png, optional, there or in CUB_200_2011 (which may be the root)"
    )
    obtain = "https://data.caltech.edu/records/65de6-vp158"

    def __init__(self, root: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)

    @property
    def folder(self) -> Path:
        """Where the tables and images are."""
        return self.locate("CUB_200_2011") or self.root

    @property
    def class_names(self) -> list[str]:
        """Names of the species, in the order of their labels."""
        folders = self._table("classes").values()
        return [name.partition(".")[2].replace("_", " ") for name in folders]

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split: val and predict are test."""
        return super().dataset("train" if split == "train" else "test")

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or test.

        Raises:
            DatasetNotFoundError: if a table or an image is missing.
            CorruptFileError: if a table has not one row for every image.
        """
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
        return None if path is None else partial(_read_agreement, path)

    def _table(self, name: str) -> dict[str, str]:
        path = self.folder / f"{name}.txt"
        if not path.is_file():
            raise self.not_found(path, "no such file")
        return read_table(path)

    def _numbers(self, name: str, images: dict[str, str], columns: int) -> NDArray[np.float64]:
        return read_numbers(self._table(name), images.keys(), columns, self.folder / f"{name}.txt")


def _read_agreement(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    return read_mask(path, size, lambda values: values > 127)
