"""SALICON (Jiang et al. 2015, "SALICON: Saliency in Context"), and any dataset in its layout."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from datamodules.base import Split
from datamodules.dataset import SaliencyDataset
from datamodules.files import FilesDataModule
from datamodules.folders import list_images
from datamodules.salicon_files import read_annotations, read_gaze, read_observers
from datamodules.stimuli import Stimulus

SIGMA = 19.0
"""Standard deviation in pixels of the Gaussian of the SALICON toolkit's densities."""


class SaliconDataModule(FilesDataModule):
    """SALICON: photographs of COCO at 480×640, 10,000 train, 5,000 val, 5,000 test.

    The test split has no public ground truth: ``test`` is the labelled val split, and ``predict`` the test
    images where they are there, else those of val. The 2017 release ships density maps, and fixations in
    .mat files; the 2015 release is JSON, from which densities are computed by the toolkit's recipe (σ = 19
    px). Scores on the two are not comparable: say which one a result is for.

    Args:
        root: folder of the dataset; by default the environment variable ``SALVIT_SALICON_ROOT``.
        release: "2017" or "2015".
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.
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
            raise ValueError(f"release must be '2017' or '2015', not {release!r}.")
        self.release = release
        self.layout = self._LAYOUTS[release]

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split: test is val, and so is predict where there are no test images."""
        is_val = split == "test" or (split == "predict" and not list_images(self.root / "images/test"))
        return super().dataset("val" if is_val else split)

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train, val or (the test images) predict."""
        if split == "predict":
            stimuli = [Stimulus(path.stem, path) for path in list_images(self.root / "images/test")]
        elif self.release == "2017":
            stimuli = self._with_gaze(split)
        else:
            stimuli = self._with_annotations(split)
        return self.stimulus_dataset(stimuli, split, SIGMA)

    def _with_gaze(self, split: Split) -> list[Stimulus]:
        """The 2017 release: a map and a .mat file for every image."""
        images, maps, gaze = (self.root / kind / split for kind in ("images", "maps", "fixations"))
        if not gaze.is_dir() and (self.root / split).is_dir():
            gaze = self.root / split
        stems = sorted(self.stems(images, ".jpg") | self.stems(maps, ".png") | self.stems(gaze, ".mat"))
        files = [(images / f"{stem}.jpg", maps / f"{stem}.png", gaze / f"{stem}.mat") for stem in stems]
        self.require(path for triple in files for path in triple)
        return [
            Stimulus(image.stem, image, partial(read_gaze, mat), png, observers=partial(read_observers, mat))
            for image, png, mat in files
        ]

    def _with_annotations(self, split: Split) -> list[Stimulus]:
        """The 2015 release: one JSON file for all images of a split."""
        name = f"fixations_{split}2014.json"
        path = next(
            (path for path in (self.root / "annotations" / name, self.root / name) if path.is_file()), None
        )
        if path is None:
            raise self.not_found(self.root / "annotations" / name, "no such file")
        return list(self.annotated(self.root / "images" / split, read_annotations(path), path).values())
