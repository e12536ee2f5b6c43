"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011)."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

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
    read_table,
)

_TABLES: dict[str, dict[str, type]] = {
    "image_class_labels": {"label": int},
    "bounding_boxes": dict.fromkeys(("x", "y", "width", "height"), float),
    "train_test_split": {"is_train": int},
}
"""Columns of the tables that have a row for each image."""


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
        folders = self._table("classes", name=str)["name"]
        return [name.partition(".")[2].replace("_", " ") for name in folders]

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or test."""
        images, classes = self._table("images", name=str), len(self.class_names)
        for name, columns in _TABLES.items():
            table = self._table(name, **columns)
            if set(table.index) != set(images.index):
                raise CorruptFileError(
                    f"{self.folder / name}.txt: has {len(table)} rows, for {table.index.isin(images.index).sum()} of "
                    f"the {len(images)} images; expected one for each, as in images.txt."
                )
            images = images.join(table)
        if not images["label"].between(1, classes).all():
            raise CorruptFileError(f"{self.folder}/image_class_labels.txt: labels must be 1 to {classes}.")
        chosen = images[images["is_train"] == (split == "train")]
        stimuli = [self._stimulus(row.name, row.label - 1, row) for row in chosen.itertuples()]
        self.require(stimulus.image for stimulus in stimuli)
        return self.stimulus_dataset(stimuli, split)

    def _stimulus(self, name: str, label: int, box: Any) -> Stimulus:
        edges = np.array([[box.x, box.y, box.x + box.width, box.y + box.height]])
        annotation = partial(Annotation, label, edges, np.array([label]))
        return Stimulus(
            Path(name).stem, self.folder / "images" / name, annotation=annotation, mask=self._mask(name)
        )

    def _mask(self, name: str) -> MaskReader | None:
        png = f"segmentations/{Path(name).with_suffix('.png')}"
        path = self.locate(png, f"CUB_200_2011/{png}")
        return None if path is None else partial(read_bright, path)

    def _table(self, file: str, /, **columns: type) -> pd.DataFrame:
        return read_table(self.existing(self.folder / f"{file}.txt"), " ", number=int, **columns)
