"""Any folder of images, to predict on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from datamodules.base import Split
from datamodules.dataset import SaliencyDataset
from datamodules.files import FilesDataModule
from datamodules.folders import IMAGE_SUFFIXES, list_images
from datamodules.stimuli import Stimulus


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name images so that no two write to the same file.

    Args:
        paths: of the images, relative to their folder.

    Returns:
        The path without its suffix, folders joined by two underscores; where that is not unique, the suffix
        is kept, joined by one.

    Raises:
        ValueError: if two names still agree.

    Example:
        >>> unique_names([Path("a.jpg"), Path("a.png"), Path("b.jpg"), Path("cats/b.jpg")])
        ['a_jpg', 'a_png', 'b', 'cats__b']
    """
    names = ["__".join(path.with_suffix("").parts) for path in paths]
    count = Counter(names)
    names = [
        name if count[name] == 1 else f"{name}_{path.suffix[1:]}"
        for name, path in zip(names, paths, strict=True)
    ]
    for name, times in Counter(names).items():
        if times > 1:
            same = [str(path) for path, other in zip(paths, names, strict=True) if other == name]
            raise ValueError(f"the images {', '.join(same)} would all be named {name!r}: rename all but one.")
    return names


class ImageFolderDataModule(FilesDataModule):
    """Any folder of images, for ``predict`` only: there is nothing to fit to or to score against.

    Args:
        root: the folder; by default the environment variable ``SALVIT_IMAGE_FOLDER_ROOT``.
        image_size: side, or (height, width), that images are squashed to (antialiased bilinear).
        batch_size: images per batch and process.
        num_workers: processes that load data; None: one per usable core, at most 8; 0: the main one loads.
        on_error: raise an error at a file that is no image, or leave such files out and count them.
        recursive: take the images in subfolders as well; hidden files and folders are left out.
    """

    env = "SALVIT_IMAGE_FOLDER_ROOT"
    layout = f"  any files that end in {' '.join(sorted(IMAGE_SUFFIXES))}, in subfolders too if recursive"
    obtain = "wherever you have images"

    def __init__(
        self,
        root: str | Path | None = None,
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        num_workers: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        recursive: bool = True,
    ) -> None:
        super().__init__(root, image_size, batch_size, num_workers, on_error)
        self.recursive = recursive

    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of predict.

        Raises:
            ValueError: for another split.
        """
        if split != "predict":
            raise ValueError(
                f"ImageFolder has no {split} split, only images to predict: use `salvit predict`."
            )
        paths = list_images(self.root, self.recursive)
        if not paths:
            raise self.not_found(f"an image in {self.root}", "the folder has none")
        names = unique_names([path.relative_to(self.root) for path in paths])
        stimuli = [Stimulus(name, path) for name, path in zip(names, paths, strict=True)]
        return self.stimulus_dataset(stimuli, split)
