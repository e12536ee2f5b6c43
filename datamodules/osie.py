"""OSIE (Xu et al. 2014, "Predicting human gaze beyond pixels", Journal of Vision 14(1):28)."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import Split
from datamodules.dataset import SaliencyDataset, Size
from datamodules.draw import divided
from datamodules.files import FilesDataModule
from datamodules.osie_files import read_osie

TRAIN_SHARE = 5 / 7
"""500 of the 700 images."""


def split_names(names: Iterable[str], seed: int) -> tuple[list[str], list[str]]:
    """Divide images into train (5/7) and val by the order of a hash of seed and name.

    Args:
        names: of the images.
        seed: another one gives another split.

    Returns:
        The names of train and of val, each sorted.

    Example:
        >>> train, val = split_names([str(number) for number in range(1001, 1701)], seed=0)
        >>> len(train), len(val), val[:3]
        (500, 200, ['1003', '1006', '1008'])
    """
    return divided(names, seed, TRAIN_SHARE)


class OSIEDataModule(FilesDataModule):
    """OSIE: 700 photographs at 600×800, each seen for 3 s by 15 observers with an eye tracker; MIT licence.

    The dataset declares no split: ours is 500 train and 200 val images, by ``split_seed``. ``test`` and
    ``predict`` are the val split. The density is a Gaussian of the binary fixation map, borders reflected.

    Args:
        root: folder of the dataset, a clone of its repository; by default the environment variable
            ``SALVIT_OSIE_ROOT``.
        split_seed: which split.
        sigma: standard deviation in pixels of the density's Gaussian; 24 is 1° of visual angle.
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.
    """

    env = "SALVIT_OSIE_ROOT"
    layout = "  data/stimuli/1001.jpg … 1700.jpg\n  data/eye/fixations.mat"
    obtain = "https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels"

    def __init__(
        self, root: str | Path | None = None, split_seed: int = 0, sigma: float = 24.0, **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        self.split_seed = split_seed
        self.sigma = sigma

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split: test and predict are val."""
        return super().dataset("train" if split == "train" else "val")

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val."""
        path = self.root / "data/eye/fixations.mat"
        if not path.is_file():
            raise self.not_found(path, "no such file")
        subjects = read_osie(path)
        annotations = {stem: np.concatenate([np.empty((0, 2)), *points]) for stem, points in subjects.items()}
        stimuli = self.annotated(self.root / "data/stimuli", annotations, path)
        train, _ = split_names(annotations, self.split_seed)
        names = train if split == "train" else sorted(stimuli.keys() - set(train))
        known = [
            replace(stimuli[name], observers=partial(_observers, subjects.get(name, []))) for name in names
        ]
        return self.stimulus_dataset(known, split, self.sigma)


def _observers(points: list[NDArray[np.float64]], size: Size) -> list[NDArray[np.float64]]:
    """Fixations of each observer; the image's size, which other datasets need to read them, is known."""
    return points
