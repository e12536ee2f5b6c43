"""Any images sorted into a folder per class, to train a ViT on."""

from pathlib import Path
from typing import Any

from datamodules.base import Split
from datamodules.dataset import SaliencyDataset
from datamodules.files import FilesDataModule
from datamodules.folders import list_images
from datamodules.image_folder import unique_names
from datamodules.stimuli import Stimulus


class ClassFolderDataModule(FilesDataModule):
    """Images in a folder per class, for `ClassificationModule`; `test` and `predict` are the val split.

    The label is the place of the class among the sorted names of the folders under `train`. There are no
    fixations, so no saliency can be scored, and no item maps: train with `dense_weight` 0.

    Args:
        root: folder of the dataset; by default the environment variable ``SALVIT_CLASS_FOLDER_ROOT``.
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.
    """

    env = "SALVIT_CLASS_FOLDER_ROOT"
    layout = "  train/<class>/…/<image>\n  val/<class>/…/<image>"
    obtain = "wherever you have images"

    def __init__(self, root: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their labels.

        Raises:
            DatasetNotFoundError: if there is no folder of a class under `train`.
        """
        folders = self.root.glob("train/*")
        names = sorted(path.name for path in folders if path.is_dir() and not path.name.startswith("."))
        if not names:
            raise self.not_found(self.root / "train/<class>", "no such folder")
        return names

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split; all but train are val."""
        return super().dataset("train" if split == "train" else "val")

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val.

        Raises:
            DatasetNotFoundError: if a class has no image in the split.
        """
        stimuli = []
        for label, name in enumerate(self.class_names):
            folder = self.root / split / name
            paths = list_images(folder, recursive=True)
            if not paths:
                raise self.not_found(f"an image in {folder}", f"class {name} has none")
            stems = unique_names([path.relative_to(folder.parent) for path in paths])
            stimuli += [Stimulus(stem, path, label=label) for stem, path in zip(stems, paths, strict=True)]
        return self.stimulus_dataset(stimuli, split)
