"""MIT300 (Judd, Durand and Torralba 2012, "A benchmark of computational models of saliency")."""

from pathlib import Path
from typing import Any

from datamodules.base import Split
from datamodules.dataset import SaliencyDataset
from datamodules.files import FilesDataModule
from datamodules.folders import list_images
from datamodules.stimuli import Stimulus


class MIT300DataModule(FilesDataModule):
    """MIT300: 300 photographs, for ``predict`` only, as their fixations are the benchmark's secret.

    MIT1003 is the usual labelled stand-in: :class:`datamodules.mit1003.MIT1003DataModule`.

    Args:
        root: folder with ``BenchmarkIMAGES``; by default the environment variable ``SALVIT_MIT300_ROOT``.
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.
    """

    env = "SALVIT_MIT300_ROOT"
    images_expected = 300
    layout = "  BenchmarkIMAGES/i1.jpg … i300.jpg (BenchmarkIMAGES may be the root)"
    obtain = "https://saliency.tuebingen.ai/datasets.html"

    def __init__(self, root: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of predict, in the order i1, i2, … i300.

        Raises:
            DatasetNotFoundError: if there are no images.
            ValueError: for another split.
        """
        if split != "predict":
            raise ValueError(
                f"MIT300 has no {split} split, since its fixations are not public: use `salvit predict`, and "
                "MIT1003DataModule to score."
            )
        folder = self.locate("BenchmarkIMAGES") or self.root
        # Nothing but i<number>.jpg: an archive may have other pictures beside them.
        paths = [path for path in list_images(folder) if path.stem[1:].isdigit() and path.stem[0] == "i"]
        if not paths:
            raise self.not_found(folder / "i1.jpg", "no such file")
        return self.stimulus_dataset([Stimulus(path.stem, path) for path in paths], split)
