"""SALICON (Jiang et al. 2015, "SALICON: Saliency in Context"), and any dataset in its layout."""

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.base import (
    TEST_IS_VAL,
    CorruptFileError,
    FilesDataModule,
    SaliencyDataset,
    Size,
    Split,
    Splits,
    Stimulus,
    as_points,
    list_images,
    read_mat,
)
from salvit.errors import InvalidValueError

SIGMA = 19.0
"""Standard deviation in pixels of the Gaussian of the SALICON toolkit's densities."""


class SaliconDataModule(FilesDataModule):
    """SALICON: photographs of COCO at 480×640, 10,000 train, 5,000 val, 5,000 test.

    Test labels are not public: ``test`` is val, and ``predict`` is the test images if present, else val. The 2017
    release has density maps and fixations in .mat files. The 2015 release has JSON; its densities are computed as
    in the toolkit (σ = 19 px). Scores on the two releases are not comparable.

    Args:
        root: folder of the dataset; by default the environment variable ``SALVIT_SALICON_ROOT``.
        release: "2017" or "2015".
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_SALICON_ROOT"
    obtain = "http://salicon.net/challenge-2017/ (2017) or http://salicon.net/download/ (2015)"
    _LAYOUTS: ClassVar[dict[str, str]] = {
        "2017": "  images/{train,val,test}/<stem>.jpg\n  maps/{train,val}/<stem>.png\n"
        "  fixations/{train,val}/<stem>.mat or {train,val}/<stem>.mat",
        "2015": "  images/{train,val,test}/<stem>.jpg\n"
        "  annotations/fixations_{train,val}2014.json or fixations_{train,val}2014.json",
    }

    def __init__(
        self, root: str | Path | None = None, release: Literal["2017", "2015"] = "2017", **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        if release not in self._LAYOUTS:
            raise InvalidValueError(f"release must be '2017' or '2015', not {release!r}.")
        self.release = release
        self.layout = self._LAYOUTS[release]

    @property
    def splits(self) -> Splits:
        """Test is val, and so is predict without test images."""
        return (
            {**TEST_IS_VAL, "predict": "predict"} if list_images(self.root / "images/test") else TEST_IS_VAL
        )

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train, val or predict (the test images)."""
        if split == "predict":
            stimuli = [Stimulus(path.stem, path) for path in list_images(self.root / "images/test")]
        elif self.release == "2017":
            stimuli = self._with_gaze(split)
        else:
            stimuli = self._with_annotations(split)
        return self.stimulus_dataset(stimuli, split, SIGMA)

    def _with_gaze(self, split: Split) -> list[Stimulus]:
        """The 2017 release: a map and a .mat file per image."""
        images, maps, gaze = (self.root / kind / split for kind in ("images", "maps", "fixations"))
        if not gaze.is_dir() and (self.root / split).is_dir():
            gaze = self.root / split
        files = self.matched(images / "*.jpg", maps / "*.png", gaze / "*.mat")
        return [
            Stimulus(stem, image, density=png, observers=partial(read_observers, mat))
            for stem, (image, png, mat) in files.items()
        ]

    def _with_annotations(self, split: Split) -> list[Stimulus]:
        """The 2015 release: one JSON file per split."""
        name = f"fixations_{split}2014.json"
        path = self.existing(self.root / "annotations" / name, self.root / name)
        images = self.annotated(self.root / "images" / split, read_annotations(path), path)
        return [Stimulus(stem, image, fixations) for stem, (image, fixations) in images.items()]


def read_observers(path: Path, size: Size) -> list[NDArray[np.float64]]:
    """Read the fixations of each observer of an image (2017 release): float64 [n_i, 2] of (x, y), 0-based.

    The ``.mat`` file has ``resolution`` [[height, width]] and ``gaze``, a struct array with one element per observer
    and the field ``fixations``: k×2 of [x, y], 1-based, unsigned.

    Raises:
        CorruptFileError: if the file cannot be read, has no gaze, or is for an image of another size.
    """
    contents = read_mat(path, "gaze")
    resolution = np.ravel(contents.get("resolution", size)).tolist()
    if resolution != list(size):
        raise CorruptFileError(f"{path}: recorded at resolution {resolution}, but the image is {list(size)}.")
    # An array whatever it is: scipy puts a sentence in place of a variable that it cannot read.
    gaze = np.asarray(contents["gaze"])
    if gaze.size and "fixations" not in (gaze.dtype.names or ()):
        raise CorruptFileError(f"{path}: expected 'gaze' to be a struct array with a field 'fixations'.")
    return [as_points(fixations, path) - 1 for fixations in gaze["fixations"].ravel()] if gaze.size else []


def read_annotations(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read the fixations of all images by stem (2015 release): float64 [n, 2] of (x, y), 0-based.

    The COCO-like JSON file has ``images`` of {id, file_name} and, one per observer, ``annotations`` of
    {image_id, fixations}, the latter [[row, column], …], 1-based.

    Raises:
        CorruptFileError: if the file is damaged or has another form.
    """
    try:
        contents = json.loads(path.read_bytes())
        stems = {image["id"]: Path(image["file_name"]).stem for image in contents["images"]}
        observers: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for annotation in contents["annotations"]:
            observers[stems[annotation["image_id"]]].append(as_points(annotation["fixations"], path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(
            f"{path}: expected SALICON's 2015 JSON ('images' with id and file_name, 'annotations' with "
            f"image_id and fixations), but got {type(error).__name__}: {error}."
        ) from error
    none = [np.empty((0, 2))]
    return {stem: np.concatenate(observers.get(stem, none))[:, ::-1] - 1 for stem in stems.values()}
