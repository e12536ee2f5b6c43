"""The folder that `predict` writes to, without overwriting a file of the user or of another image."""

from collections.abc import Iterable
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.base import SaliencyDataset, StimulusDataset
from salvit.errors import InvalidValueError
from salvit.results.atomic import atomic_write

MARKER = ".salvit"
"""Hidden file of a folder in which salvit may overwrite results."""


def output_folder(trainer: Trainer, named: str | None, default: str = "") -> Path:
    """The folder that the user named, or else a folder `default` in that of the run.

    Every process has to call this, as the run's folder is broadcast.
    """
    folder = trainer.log_dir or trainer.default_root_dir
    return Path(folder, default) if named is None else Path(named)


def predicted_dataset(trainer: Trainer) -> SaliencyDataset | None:
    """The dataset to predict; None if it is not a SaliencyDataset, which knows its names."""
    loader = trainer.predict_dataloaders
    dataset = loader.dataset if isinstance(loader, DataLoader) else None
    return dataset if isinstance(dataset, SaliencyDataset) else None


def claim(folder: Path, files: Iterable[tuple[Path, str]], dataset: SaliencyDataset | None = None) -> None:
    """Claim a folder for results, before anything is computed.

    Results are overwritten only in folders with the hidden file `.salvit`, and images of the dataset never.

    Args:
        folder: made if it is missing.
        files: every file that will be written, and the name of its image.
        dataset: the dataset, whose images are never overwritten.

    Raises:
        ValueError: if two images would have the same file, also on systems that ignore case; or if a file is there
            that salvit did not write.
    """
    owners: dict[str, str] = {}
    there = []
    for path, name in files:
        place = str(path).casefold()
        if place in owners:
            raise InvalidValueError(
                f"the images {owners[place]!r} and {name!r} would both be written to {path}: rename one of them, or "
                "write fewer kinds of files."
            )
        owners[place] = name
        if path.exists():
            there.append(path)
    if (folder / MARKER).is_file():
        stimuli = dataset.stimuli if isinstance(dataset, StimulusDataset) else []
        images = {stimulus.image.resolve() for stimulus in stimuli}
        there = [path for path in there if path.resolve() in images]
    if there:
        raise InvalidValueError(
            f"{there[0]} exists and was not written by salvit (the first of {len(there)} such files): name "
            "another folder."
        )
    with atomic_write(folder / MARKER) as file:
        file.write(b"salvit writes its results here, and over those of an earlier run.\n")


def require_finite(name: str, saliency: Tensor) -> None:
    """Raise ValueError, which names the image, unless all values of a map are finite."""
    if not torch.stack(saliency.aminmax()).isfinite().all():
        raise InvalidValueError(
            f"the map of the image {name!r} has NaN or infinite values and is not written: the weights are damaged, "
            "the training has diverged, or the precision is too low (try --trainer.precision 32-true)."
        )
