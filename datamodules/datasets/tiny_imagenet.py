"""Tiny ImageNet (Stanford's course CS231n, 2015): 200 classes of ImageNet at 64×64 pixels."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.base import (
    Annotation,
    ExplanationDataModule,
    SaliencyDataset,
    Split,
    Splits,
    Stimulus,
    drawn,
    read_table,
)
from salvit.errors import InvalidValueError
from salvit.vit.classes import Classes

_EDGES = dict.fromkeys(("x0", "y0", "x1", "y1"), float)


class TinyImageNetDataModule(ExplanationDataModule):
    """Tiny ImageNet: photographs at 64×64 pixels with one box each, of 10 of the 200 classes or of any others.

    A class has 550 images with a label: the 500 of train and the 50 of val. The official test images have no labels.
    ``test`` takes the images of val first, and then some of train; ``val`` takes the next ones, and ``train`` those
    of train that are left. No image is in two splits, except that ``val`` is ``test`` if ``val_images`` is 0.

    The defaults are the experiment of Agrawal, Dayton and Dauber, "Visualizing attention in Vision Transformers"
    (poster): 10 classes, all 500 images of train, and the 50 of val to test on. The poster says 100 test images a
    class, but beside 500 for training there are no more than 50, and all its test accuracies are multiples of 1/500.

    A label is the index of the class among the chosen ones, in the order of their wnids, or as they are named in
    ``classes``. The dataset has no outlines of the objects: SMM takes the pixels inside the box.

    Args:
        root: folder with ``tiny-imagenet-200``; by default the environment variable ``SALVIT_TINY_IMAGENET_ROOT``.
        classes: number of classes, drawn by ``class_seed``; or a list of their names or wnids.
        class_seed: seed of the drawn classes.
        train_images: training images of each class; None: all that are left.
        val_images: validation images of each class.
        test_images: test images of each class; with 100, train has 450.
        split_seed: seed of the order in which images are taken.
        image_size: side, or (height, width), of the images in a batch.
        **kwargs: as for :class:`datamodules.base.ExplanationDataModule`.

    Raises:
        ValueError: if a number is too small.
    """

    env = "SALVIT_TINY_IMAGENET_ROOT"
    layout = (
        "  tiny-imagenet-200/{wnids,words}.txt (tiny-imagenet-200 may be the root)\n"
        "  tiny-imagenet-200/train/<wnid>/images/<wnid>_<N>.JPEG\n"
        "  tiny-imagenet-200/train/<wnid>/<wnid>_boxes.txt\n"
        "  tiny-imagenet-200/val/images/val_<N>.JPEG\n  tiny-imagenet-200/val/val_annotations.txt"
    )
    obtain = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def __init__(
        self,
        root: str | Path | None = None,
        classes: int | list[str] = 10,
        class_seed: int = 0,
        train_images: int | None = None,
        val_images: int = 0,
        test_images: int = 50,
        split_seed: int = 0,
        image_size: int | tuple[int, int] = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        if test_images < 1 or val_images < 0 or (train_images is not None and train_images < 1):
            raise InvalidValueError(
                f"train_images ({train_images}) and test_images ({test_images}) must be at least 1, and val_images "
                f"({val_images}) at least 0."
            )
        self.classes = classes
        self.class_seed = class_seed
        self.train_images = train_images
        self.val_images = val_images
        self.test_images = test_images
        self.split_seed = split_seed

    @property
    def splits(self) -> Splits:
        """Val is test without validation images; predict is test."""
        return {
            "train": "train",
            "val": "val" if self.val_images else "test",
            "test": "test",
            "predict": "test",
        }

    @property
    def folder(self) -> Path:
        """Folder of the tables and images."""
        return self.locate("tiny-imagenet-200") or self.root

    @property
    def class_names(self) -> list[str]:
        """Names of the chosen classes, synonyms separated by ", ", in the order of their labels."""
        return list(self._chosen().values())

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train, val or test.

        Raises:
            ValueError: if a class has too few images.
        """
        annotations = self._table("val/val_annotations.txt", image=str, wnid=str, **_EDGES)
        stimuli = []
        for label, wnid in enumerate(self._chosen()):
            boxes = self._table(f"train/{wnid}/{wnid}_boxes.txt", image=str, **_EDGES)
            train = self._stimuli(f"train/{wnid}/images", boxes, label)
            val = self._stimuli("val/images", annotations[annotations["wnid"] == wnid], label)
            stimuli += self._share(train, val, split, wnid)
        self.require(stimulus.image for stimulus in stimuli)
        return self.stimulus_dataset(stimuli, split)

    def _chosen(self) -> dict[str, str]:
        """Names of the chosen classes by wnid, in the order of their labels."""
        wnids = sorted(self._table("wnids.txt", wnid=str).index)
        words = self._table("words.txt", wnid=str, name=str)["name"]
        if not isinstance(self.classes, int):
            known = Classes(len(wnids), wnids, [words.get(wnid, wnid) for wnid in wnids])
            chosen = [wnids[known.find(str(name))] for name in self.classes]
        elif 1 <= self.classes <= len(wnids):
            chosen = sorted(drawn(wnids, self.class_seed)[: self.classes])
        else:
            chosen = []
        if not chosen or len(set(chosen)) < len(chosen):
            raise InvalidValueError(
                f"classes must be a number, 1 to {len(wnids)}, or names of different classes, not {self.classes}."
            )
        return {wnid: words.get(wnid, wnid) for wnid in chosen}

    def _table(self, file: str, /, **columns: type) -> pd.DataFrame:
        return read_table(self.existing(self.folder / file), "\t", **columns)

    def _stimuli(self, folder: str, table: pd.DataFrame, label: int) -> list[Stimulus]:
        """Images of one class in the order in which they are taken; a box in the table includes its last pixel."""
        edges = table[list(_EDGES)].to_numpy() + np.array([0, 0, 1, 1])
        boxes = dict(zip(table.index, edges, strict=True))
        return [
            Stimulus(
                Path(name).stem,
                self.folder / folder / name,
                annotation=partial(Annotation, label, boxes[name][None], np.array([label])),
            )
            for name in drawn(boxes, self.split_seed)
        ]

    def _share(self, train: list[Stimulus], val: list[Stimulus], split: Split, wnid: str) -> list[Stimulus]:
        """Images of one class that a split takes."""
        held, test = self.test_images + self.val_images, self.test_images
        left = train[max(held - len(val), 0) :]
        if len(left) < (self.train_images or 1):
            raise InvalidValueError(
                f"class {wnid} has {len(train)} images in train and {len(val)} in val, too few for "
                f"{self.train_images or 'any'} to train on, {self.val_images} to validate and {test} to test: lower "
                "train_images, val_images or test_images."
            )
        if split == "train":
            return left[: self.train_images]
        return (val + train)[test:held] if split == "val" else (val + train)[:test]
