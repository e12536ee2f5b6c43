"""P3 and O3 (Kotseruba et al. 2019, "Do saliency models detect odd-one-out targets?")."""

import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from datamodules.base import (
    CorruptFileError,
    FilesDataModule,
    SaliencyDataset,
    Split,
    Splits,
    Stimulus,
    list_images,
    read_bright,
)
from salvit.errors import InvalidValueError

FEATURES = {"colors": "colour", "orientations": "orientation", "sizes": "size"}
"""Folders of P3, and the one feature in which the target of its displays is odd."""


class P3O3DataModule(FilesDataModule):
    """P3 (2,514 drawn displays) and O3 (2,001 photographs), each with one odd item; only to evaluate on.

    There are no fixations but masks: ``target`` and ``distractors`` at native size, which
    :class:`salvit.metrics.PopOut` uses, and ``mask``, the target at the size of ``image``. ``category`` is the set
    and the features in which the target is odd. ``val``, ``test`` and ``predict`` are all images.

    Args:
        root: folder with ``P3`` and ``O3``; by default the environment variable ``SALVIT_P3O3_ROOT``.
        subset: "P3", "O3" or "both".
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_P3O3_ROOT"
    splits: ClassVar[Splits] = {"val": "test", "test": "test", "predict": "test"}
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
            raise InvalidValueError(f"subset must be 'P3', 'O3' or 'both', not {subset!r}.")
        self.subset = subset

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset."""
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


_FEATURES = ("colour", "texture", "shape", "size", "orientation", "focus", "location")
_YES = {"1", "1.0", "true", "yes", "y", "t"}
_NO = {"0", "0.0", "false", "no", "n", "f", ""}


def read_features(path: Path) -> dict[str, list[str]]:
    """Read ``image_properties.txt`` of O3: for each image's stem, the features in which its target is odd.

    The first line names the columns, separated by tabs, commas, semicolons or spaces. The first column is the image
    file; a column per feature has 0 or 1.

    Raises:
        CorruptFileError: if the file cannot be read or is no such table.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path}: cannot read it ({type(error).__name__}: {error}).") from error
    header, *rows = [_cells(line) for line in lines] or [[]]
    names = [name.lower().replace("color", "colour") for name in header]
    if not set(names) & set(_FEATURES):
        raise CorruptFileError(
            f"{path}: expected a table whose first line names the image and columns of "
            f"{', '.join(_FEATURES)}, but it begins {lines[:1]}."
        )
    return {Path(row[0]).stem: _odd(dict(zip(names, row, strict=False)), row[0], path) for row in rows}


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in "\t;," if mark in line), None)
    cells = line.split(separator) if separator else re.split(r"\s+", line.strip())
    return [cell.strip().strip("\"'") for cell in cells]


def _odd(row: dict[str, str], image: str, path: Path) -> list[str]:
    values = {name: value.lower() for name, value in row.items() if name in _FEATURES}
    for name, value in values.items():
        if value not in _YES | _NO:
            raise CorruptFileError(f"{path}: expected 0 or 1 for {name} of {image}, not {value!r}.")
    return [name for name, value in values.items() if value in _YES]
