"""OSIE (Xu et al. 2014, "Predicting human gaze beyond pixels", Journal of Vision 14(1):28)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import (
    TEST_IS_VAL,
    CorruptFileError,
    FilesDataModule,
    SaliencyDataset,
    Split,
    Stimulus,
    as_points,
    divided,
    read_mat,
)

TRAIN_SHARE = 5 / 7
"""500 of the 700 images."""


class OSIEDataModule(FilesDataModule):
    """OSIE: 700 photographs at 600×800, each seen for 3 s by 15 observers with an eye tracker; MIT licence.

    The dataset has no official split: here, 500 are train and 200 val, by ``split_seed``. ``test`` and ``predict``
    are val. The density is a Gaussian blur of the binary fixation map with reflected borders.

    Args:
        root: a clone of the dataset's repository; by default the environment variable ``SALVIT_OSIE_ROOT``.
        split_seed: seed of the split.
        sigma: standard deviation in pixels of the Gaussian; 24 is 1° of visual angle.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_OSIE_ROOT"
    splits = TEST_IS_VAL
    layout = "  data/stimuli/1001.jpg … 1700.jpg\n  data/eye/fixations.mat"
    obtain = "https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels"

    def __init__(
        self, root: str | Path | None = None, split_seed: int = 0, sigma: float = 24.0, **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        self.split_seed = split_seed
        self.sigma = sigma

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val."""
        path = self.existing(self.root / "data/eye/fixations.mat")
        subjects = read_osie(path)
        images = self.annotated(self.root / "data/stimuli", subjects, path)
        train, _ = divided(subjects, self.split_seed, TRAIN_SHARE)
        names = train if split == "train" else sorted(images.keys() - set(train))
        stimuli = [Stimulus(name, images[name][0], observers=images[name][1]) for name in names]
        return self.stimulus_dataset(stimuli, split, self.sigma)


def _elements(cell: Any) -> list[Any]:
    """Elements of a MATLAB cell array; scipy unwraps an array of one element."""
    return [cell] if isinstance(cell, Mapping) else list(cell)


def _points(subject: Mapping[str, Any], path: Path) -> NDArray[np.float64]:
    """Points of one subject: scipy returns scalars for a single fixation and empty arrays for none."""
    return as_points(np.stack([np.ravel(subject["fix_x"]), np.ravel(subject["fix_y"])], axis=1), path)


def read_osie(path: Path) -> dict[str, list[NDArray[np.float64]]]:
    """Read the fixations of each subject by image stem: float64 [n, 2] of (x, y), 0-based.

    ``fixations.mat`` has the cell array ``fixations`` of {img, subjects: [{fix_x, fix_y, fix_duration}]}, with
    fractional 1-based coordinates in pixels.

    Raises:
        CorruptFileError: if the file cannot be read or has another form.
    """
    contents = read_mat(path, "fixations", simplify_cells=True)
    try:
        return {
            Path(entry["img"]).stem: [_points(subject, path) - 1 for subject in _elements(entry["subjects"])]
            for entry in _elements(contents["fixations"])
        }
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(
            f"{path}: expected a cell array 'fixations' of {{img, subjects: {{fix_x, fix_y}}}}, but got "
            f"{type(error).__name__}: {error}."
        ) from error
