"""MIT1003 (Judd et al. 2009, "Learning to predict where humans look")."""

from functools import partial
from pathlib import Path
from typing import Any

from datamodules.base import Split
from datamodules.binary_map import read_picture_map
from datamodules.dataset import SaliencyDataset
from datamodules.draw import divided
from datamodules.files import FilesDataModule
from datamodules.stimuli import Stimulus

TRAIN_SHARE = 0.8


class MIT1003DataModule(FilesDataModule):
    """MIT1003: 1,003 photographs of several sizes, seen by 15 observers; the labelled stand-in for MIT300.

    The dataset declares no split: ours is 802 train and 201 val images, by ``split_seed``. ``test`` and
    ``predict`` are the val split. Densities are the shipped maps; fixations come as black and white JPEGs, so
    that a pixel counts once however often it was fixated.

    Args:
        root: folder with ``ALLSTIMULI``; by default the environment variable ``SALVIT_MIT1003_ROOT``.
        split_seed: which split.
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.
    """

    env = "SALVIT_MIT1003_ROOT"
    layout = (
        "  ALLSTIMULI/<stem>.jpeg\n  ALLFIXATIONMAPS/<stem>_fixMap.jpg\n  ALLFIXATIONMAPS/<stem>_fixPts.jpg"
    )
    obtain = "https://people.csail.mit.edu/tjudd/WherePeopleLook/"

    def __init__(self, root: str | Path | None = None, split_seed: int = 0, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.split_seed = split_seed

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split: test and predict are val."""
        return super().dataset("train" if split == "train" else "val")

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val.

        Raises:
            DatasetNotFoundError: if a folder is missing, or an image without its map or fixations or the reverse.
        """
        images, maps = self.root / "ALLSTIMULI", self.root / "ALLFIXATIONMAPS"
        stems = self.stems(images, ".jpeg")
        for ending in ("_fixMap", "_fixPts"):  # one more picture ends in fixPts without the underscore
            stems |= {stem.removesuffix(ending) for stem in self.stems(maps, f"{ending}.jpg")}
        self.require(path for stem in sorted(stems) for path in self._files(stem))
        train, val = divided(stems, self.split_seed, TRAIN_SHARE)
        files = [self._files(stem) for stem in (train if split == "train" else val)]
        stimuli = [
            Stimulus(image.stem, image, partial(read_picture_map, points), density)
            for image, density, points in files
        ]
        return self.stimulus_dataset(stimuli, split)

    def _files(self, stem: str) -> tuple[Path, Path, Path]:
        maps = self.root / "ALLFIXATIONMAPS"
        return self.root / f"ALLSTIMULI/{stem}.jpeg", maps / f"{stem}_fixMap.jpg", maps / f"{stem}_fixPts.jpg"
