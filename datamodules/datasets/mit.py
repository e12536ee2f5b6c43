"""MIT1003 (Judd et al. 2009, "Learning to predict where humans look") and MIT300 (Judd, Durand and Torralba 2012)."""

from functools import partial
from pathlib import Path
from typing import Any

from datamodules.base import (
    PREDICT_ONLY,
    TEST_IS_VAL,
    FilesDataModule,
    SaliencyDataset,
    Split,
    Stimulus,
    divided,
    list_images,
    read_picture_map,
)

TRAIN_SHARE = 0.8


class MIT1003DataModule(FilesDataModule):
    """MIT1003: 1,003 photographs of several sizes, seen by 15 observers; the labelled substitute for MIT300.

    The dataset has no official split: here, 802 are train and 201 val, by ``split_seed``. ``test`` and ``predict``
    are val. Densities are the published maps. Fixations come as black and white JPEGs: each pixel counts once.

    Args:
        root: folder with ``ALLSTIMULI``; by default the environment variable ``SALVIT_MIT1003_ROOT``.
        split_seed: seed of the split.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_MIT1003_ROOT"
    splits = TEST_IS_VAL
    layout = (
        "  ALLSTIMULI/<stem>.jpeg\n  ALLFIXATIONMAPS/<stem>_fixMap.jpg\n  ALLFIXATIONMAPS/<stem>_fixPts.jpg"
    )
    obtain = "https://people.csail.mit.edu/tjudd/WherePeopleLook/"

    def __init__(self, root: str | Path | None = None, split_seed: int = 0, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.split_seed = split_seed

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val."""
        maps = self.root / "ALLFIXATIONMAPS"  # one more picture there ends in fixPts without the underscore
        files = self.matched(self.root / "ALLSTIMULI/*.jpeg", maps / "*_fixMap.jpg", maps / "*_fixPts.jpg")
        train, val = divided(files, self.split_seed, TRAIN_SHARE)
        stimuli = [
            Stimulus(image.stem, image, partial(read_picture_map, points), density)
            for image, density, points in (files[stem] for stem in (train if split == "train" else val))
        ]
        return self.stimulus_dataset(stimuli, split)


class MIT300DataModule(FilesDataModule):
    """MIT300: 300 photographs without public fixations, for ``predict`` only; fit and score on MIT1003.

    Args:
        root: folder with ``BenchmarkIMAGES``; by default the environment variable ``SALVIT_MIT300_ROOT``.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_MIT300_ROOT"
    splits = PREDICT_ONLY
    images_expected = 300
    layout = "  BenchmarkIMAGES/i1.jpg … i300.jpg (BenchmarkIMAGES may be the root)"
    obtain = "https://saliency.tuebingen.ai/datasets.html"

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of predict, in the order i1 to i300."""
        folder = self.locate("BenchmarkIMAGES") or self.root
        # Nothing but i<number>.jpg: an archive may have other pictures beside them.
        paths = [path for path in list_images(folder) if path.stem[1:].isdigit() and path.stem[0] == "i"]
        if not paths:
            raise self.not_found(folder / "i1.jpg", "no such file")
        return self.stimulus_dataset([Stimulus(path.stem, path) for path in paths], split)
