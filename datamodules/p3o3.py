"""P3 and O3 (Kotseruba et al. 2019, "Do saliency models detect odd-one-out targets?")."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datamodules.base import Split
from datamodules.dataset import SaliencyDataset
from datamodules.errors import CorruptFileError
from datamodules.files import FilesDataModule
from datamodules.folders import list_images
from datamodules.images import read_bright
from datamodules.p3o3_files import read_features
from datamodules.stimuli import Stimulus

FEATURES = {"colors": "colour", "orientations": "orientation", "sizes": "size"}
"""Folders of P3, and the one feature in which the target of its displays is odd."""


class P3O3DataModule(FilesDataModule):
    """P3, 2,514 drawn displays, and O3, 2,001 photographs, in each of which one item is odd; to evaluate on.

    There are no fixations but masks: ``target`` and ``distractors``, at native size, from which
    :class:`salvit.metrics.PopOut` scores a prediction, and ``mask``, the target at the size of ``image``.
    ``category`` is the set and the features in which the target is odd. ``val``, ``test`` and ``predict`` are
    all images; there is no train split.

    Args:
        root: folder with ``P3`` and ``O3``; by default the environment variable ``SALVIT_P3O3_ROOT``.
        subset: "P3", "O3" or "both".
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.
    """

    env = "SALVIT_P3O3_ROOT"
    layout = (
        "  P3/{colors,orientations,sizes}/{images,targ_labels,dist_labels}/<stem>.png\n"
        "  O3/{images,targ_labels,dist_labels}/<stem>.jpg\n  O3/image_properties.txt"
    )
    obtain = "http://data.nvision2.eecs.yorku.ca/P3O3/"

    def __init__(
        self, root: str | Path | None = None, subset: Literal["P3", "O3", "both"] = "both", **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        if subset not in ("P3", "O3", "both"):
            raise ValueError(f"subset must be 'P3', 'O3' or 'both', not {subset!r}.")
        self.subset = subset

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split: all but train are the same."""
        return super().dataset("train" if split == "train" else "test")

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset.

        Raises:
            DatasetNotFoundError: if a folder or a mask is missing.
            ValueError: for train.
        """
        if split == "train":
            raise ValueError("P3O3 has no train split: use `salvit predict`, `validate` or `test`.")
        stimuli = []
        if self.subset != "O3":
            for folder, feature in FEATURES.items():
                displays = self._images(self.root / "P3" / folder)
                stimuli += [_stimulus(path, f"{folder}__{path.stem}", f"P3 {feature}") for path in displays]
        if self.subset != "P3":
            categories = self._o3_categories()
            stimuli += [
                _stimulus(path, f"O3__{path.stem}", categories.get(path.stem, "O3"))
                for path in self._images(self.root / "O3")
            ]
        return self.stimulus_dataset(stimuli, split)

    def _images(self, folder: Path) -> list[Path]:
        paths = list_images(folder / "images")
        if not paths:
            raise self.not_found(folder / "images", "no image there")
        self.require(_mask(path, kind) for path in paths for kind in ("targ_labels", "dist_labels"))
        return paths

    def _o3_categories(self) -> dict[str, str]:
        path = self.root / "O3/image_properties.txt"
        self.require([path])
        try:
            return {
                stem: f"O3 {'+'.join(features)}" for stem, features in read_features(path).items() if features
            }
        except CorruptFileError as error:  # the images and masks can be used without
            warnings.warn(f"{error} All images of O3 are put into one category.", stacklevel=2)
            return {}


def _mask(image: Path, kind: str) -> Path:
    return image.parent.parent / kind / image.name


def _stimulus(image: Path, name: str, category: str) -> Stimulus:
    target, distractors = (
        partial(read_bright, _mask(image, kind)) for kind in ("targ_labels", "dist_labels")
    )
    return Stimulus(name, image, mask=target, distractors=distractors, category=category)
