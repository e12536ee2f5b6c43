"""Folders of images: any folder to predict on, and a folder per class to train a ViT on."""

from pathlib import Path
from typing import Any

from datamodules.base import (
    PREDICT_ONLY,
    TEST_IS_VAL,
    FilesDataModule,
    SaliencyDataset,
    Split,
    Stimulus,
    list_images,
    unique_names,
)


class ImageFolderDataModule(FilesDataModule):
    """Any folder of images, for ``predict`` only.

    Args:
        root: the folder; by default the environment variable ``SALVIT_IMAGE_FOLDER_ROOT``.
        recursive: include subfolders; hidden files and folders are left out.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_IMAGE_FOLDER_ROOT"
    splits = PREDICT_ONLY
    layout = "  pictures of any format that Pillow reads (.jpg, .png, .tif, .webp, …), in subfolders too if recursive"
    obtain = "wherever you have images"

    def __init__(self, root: str | Path | None = None, recursive: bool = True, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.recursive = recursive

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of predict."""
        paths = list_images(self.root, self.recursive)
        if not paths:
            raise self.not_found(f"an image in {self.root}", "the folder has none")
        names = unique_names([path.relative_to(self.root) for path in paths])
        stimuli = [Stimulus(name, path) for name, path in zip(names, paths, strict=True)]
        return self.stimulus_dataset(stimuli, split)


class ClassFolderDataModule(FilesDataModule):
    """Images in a folder per class, for `ClassificationModule`; `test` and `predict` are the val split.

    The label is the index of the class among the sorted folder names under `train`. There are no fixations and no
    item maps: train with `dense_weight` 0.

    Args:
        root: folder of the dataset; by default the environment variable ``SALVIT_CLASS_FOLDER_ROOT``.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.
    """

    env = "SALVIT_CLASS_FOLDER_ROOT"
    splits = TEST_IS_VAL
    layout = "  train/<class>/…/<image>\n  val/<class>/…/<image>"
    obtain = "wherever you have images"

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their labels.

        Raises:
            DatasetNotFoundError: if `train` has no folders.
        """
        names = sorted(path.name for path in self.root.glob("train/[!.]*") if path.is_dir())
        if not names:
            raise self.not_found(self.root / "train/<class>", "no such folder")
        return names

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of train or val."""
        stimuli = []
        for label, name in enumerate(self.class_names):
            folder = self.root / split / name
            paths = list_images(folder, recursive=True)
            if not paths:
                raise self.not_found(f"an image in {folder}", f"class {name} has none")
            stems = unique_names([path.relative_to(folder.parent) for path in paths])
            stimuli += [Stimulus(stem, path, label=label) for stem, path in zip(stems, paths, strict=True)]
        return self.stimulus_dataset(stimuli, split)
