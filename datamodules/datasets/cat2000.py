"""CAT2000 (Borji and Itti 2015, "CAT2000: A large scale fixation dataset for boosting saliency research")."""

from functools import partial
from pathlib import Path
from typing import Any

from datamodules.base import (
    TEST_IS_VAL,
    FilesDataModule,
    SaliencyDataset,
    Split,
    Splits,
    Stimulus,
    divided,
    list_images,
    read_mat_map,
)

TRAIN_SHARE = 0.8


class CAT2000DataModule(FilesDataModule):
    """CAT2000: 20 categories of 100 images at 1080×1920 with public fixations, and 2,000 test images without.

    80 % of each category of the train set are train and 20 % val, by ``split_seed``. ``test`` is val; ``predict``
    is the test images if present, else val. Densities are the published maps. Fixations come as binary maps: each
    pixel counts once. Each sample has its ``category``.

    Args:
        root: folder with ``trainSet``; by default the environment variable ``SALVIT_CAT2000_ROOT``.
        split_seed: seed of the split.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_CAT2000_ROOT"
    layout = (
        "  trainSet/Stimuli/<Category>/<NNN>.jpg\n  trainSet/FIXATIONMAPS/<Category>/<NNN>.jpg\n"
        "  trainSet/FIXATIONLOCS/<Category>/<NNN>.mat\n  testSet/Stimuli/<Category>/<NNN>.jpg, to predict"
    )
    obtain = "https://saliency.tuebingen.ai/datasets.html"

    def __init__(self, root: str | Path | None = None, split_seed: int = 0, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.split_seed = split_seed

    @property
    def splits(self) -> Splits:
        """Test is val, and so is predict without test images."""
        return {**TEST_IS_VAL, "predict": "predict"} if self._test_images() else TEST_IS_VAL

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train, val or predict (the test images)."""
        if split == "predict":
            paths = self._test_images()
            stimuli = [Stimulus(_name(path), path, category=path.parent.name) for path in paths]
            return self.stimulus_dataset(stimuli, split)
        folders = sorted(path for path in (self.root / "trainSet/Stimuli").glob("[!.]*") if path.is_dir())
        if not folders:
            raise self.not_found(self.root / "trainSet/Stimuli/<Category>", "no such folder")
        stimuli = [stimulus for folder in folders for stimulus in self._of_category(folder.name, split)]
        return self.stimulus_dataset(stimuli, split)

    def _of_category(self, category: str, split: Split) -> list[Stimulus]:
        train_set = self.root / "trainSet"
        found = self.matched(
            train_set / f"Stimuli/{category}/*.jpg",
            train_set / f"FIXATIONMAPS/{category}/*.jpg",
            train_set / f"FIXATIONLOCS/{category}/*.mat",
            keep=str.isdigit,  # leaves out an allFixData.mat beside them
        )
        files = {f"{category}/{stem}": paths for stem, paths in found.items()}
        train, val = divided(files, self.split_seed, TRAIN_SHARE)
        return [
            Stimulus(_name(image), image, partial(read_mat_map, "fixLocs", mat), density, category=category)
            for image, density, mat in (files[name] for name in (train if split == "train" else val))
        ]

    def _test_images(self) -> list[Path]:
        folders = sorted((self.root / "testSet/Stimuli").glob("[!.]*"))
        return [path for folder in folders for path in list_images(folder)]


def _name(path: Path) -> str:
    """Unique across categories, each of which counts from 001."""
    return f"{path.parent.name}__{path.stem}"
