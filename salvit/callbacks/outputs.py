"""Where `predict` writes: in one folder, every image to files of its own, over no file but salvit's own."""

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
"""Hidden file of a folder whose results salvit may write again."""


def output_folder(trainer: Trainer, named: str | None, default: str = "") -> Path:
    """The folder that a user has named, or else one in the folder of the run.

    Args:
        trainer: of the run; every process has to ask, as the run's folder is broadcast.
        named: by the user; taken as it is.
        default: name of the folder in that of the run.
    """
    folder = trainer.log_dir or trainer.default_root_dir
    return Path(folder, default) if named is None else Path(named)


def predicted_dataset(trainer: Trainer) -> SaliencyDataset | None:
    """The dataset that is about to be predicted; None if it is not one of ours, whose names are known at once."""
    loader = trainer.predict_dataloaders
    dataset = loader.dataset if isinstance(loader, DataLoader) else None
    return dataset if isinstance(dataset, SaliencyDataset) else None


def claim(folder: Path, files: Iterable[tuple[Path, str]], dataset: SaliencyDataset | None = None) -> None:
    """Take a folder for results, before anything is computed.

    A folder in which salvit has written has a hidden file, `.salvit`: there, results are written again. Files of
    any other folder are left alone, and so are the images of the dataset.

    Args:
        folder: made if need be.
        files: every file that is to be written, and the name of its image.
        dataset: whose images are read.

    Raises:
        ValueError: if two images would have the same file, also where upper and lower case are one; or if a file is
            there that salvit did not write.
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
            f"{there[0]} is there and was not written by salvit (the first of {len(there)} such files): name "
            "another folder."
        )
    with atomic_write(folder / MARKER) as file:
        file.write(b"salvit writes its results here, and over those of an earlier run.\n")


def require_finite(name: str, saliency: Tensor) -> None:
    """Raise unless a map is of finite numbers.

    Raises:
        ValueError: if it is not; the message names the image.
    """
    if not torch.isfinite(saliency).all():
        raise InvalidValueError(
            f"the map of the image {name!r} has NaN or infinite values and is not written: the weights are damaged, "
            "the training has diverged, or the precision is too low (try --trainer.precision 32-true)."
        )
