"""Base of all datamodules: splits, loaders, and statistics of a split.

Training images come in the order of ``TrainingOrder``. The other loaders bring an ``UnrepeatedDistributedSampler``, so
that every image is scored exactly once. Lightning keeps both. A process without images gets one batch of no images:
otherwise Lightning would skip its loop and its collective calls, and the other processes would wait forever.
"""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.base.dataset import SaliencyDataset, Sample, Size, collate, collate_none
from datamodules.base.fixations import fixation_counts, mean_density
from datamodules.base.order import LazyLoader, TrainingOrder, WithMirrored
from salvit.errors import InvalidValueError

Split: TypeAlias = Literal["train", "val", "test", "predict"]
Splits: TypeAlias = Mapping[Split, Split]
"""For each split of a dataset, the split whose images it uses."""
TEST_IS_VAL: Splits = {"train": "train", "val": "val", "test": "val", "predict": "val"}
PREDICT_ONLY: Splits = {"predict": "predict"}
_COMMANDS: dict[Split, str] = {"train": "fit", "val": "validate", "test": "test", "predict": "predict"}


def _default_workers() -> int:
    """One worker per usable core, at most 8: more workers only compete for memory bandwidth."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


class SaliencyDataModule(LightningDataModule, ABC):
    """Base of all datamodules; a subclass makes the dataset of each split.

    Datasets on disk extend :class:`datamodules.base.files.FilesDataModule`.

    Args:
        image_size: side, or (height, width), of the images in a batch.
        batch_size: images per batch and process.
        num_workers: processes that load data; None: one per usable core, at most 8; 0: load in the main process.

    Raises:
        ValueError: if a size is not positive or ``num_workers`` is negative.
    """

    hflip: bool = False
    """Whether half of the training images, chosen at random, are mirrored in an epoch."""

    def __init__(
        self, image_size: int | tuple[int, int] = 224, batch_size: int = 32, num_workers: int | None = None
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width, batch_size) < 1:
            raise InvalidValueError(
                f"image_size {image_size} and batch_size {batch_size} must be at least 1."
            )
        if num_workers is not None and num_workers < 0:
            raise InvalidValueError(
                f"num_workers is {num_workers}: give the number of processes that load data, 0 to load in the main "
                "one, or null for one per core."
            )
        self.image_size: Size = (height, width)
        self.batch_size = batch_size
        self.num_workers = _default_workers() if num_workers is None else num_workers
        self._datasets: dict[Split, SaliencyDataset] = {}
        self._center_priors: dict[Size, Tensor] = {}

    @property
    def splits(self) -> Splits:
        """For each split, the split whose images it uses; a subclass may assign a mapping."""
        return {"train": "train", "val": "val", "test": "test", "predict": "predict"}

    @abstractmethod
    def make_dataset(self, split: Split) -> SaliencyDataset:
        """Build the dataset of a split; called once for each value of ``splits`` that is needed.

        Raises:
            DatasetNotFoundError: if files are missing.
            CorruptFileError: if a file that is read at once, such as a table of labels, cannot be used.
        """

    def split_name(self, split: Split) -> Split:
        """The split whose images a split uses: for many datasets, "test" uses the labelled "val".

        Raises:
            ValueError: if the dataset has no such split.
        """
        splits = self.splits
        if split not in splits:
            dataset = type(self).__name__.removesuffix("DataModule")
            commands = " or ".join(f"`salvit {_COMMANDS[one]}`" for one in splits)
            raise InvalidValueError(
                f"{dataset} has no {split} split, only {', '.join(splits)}: use {commands}."
            )
        return splits[split]

    def dataset(self, split: Split) -> SaliencyDataset:
        """The dataset of a split, built on first use; errors as :meth:`split_name` and :meth:`make_dataset`."""
        name = self.split_name(split)
        if name not in self._datasets:
            self._datasets[name] = self.make_dataset(name)
        return self._datasets[name]

    def setup(self, stage: str | None = None) -> None:
        """Build the datasets that a stage needs, so that missing files are found before anything runs."""
        for split, command in _COMMANDS.items():
            if command == stage or (stage in ("fit", None) and split in ("train", "val")):
                self.dataset(split)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the train split, see :class:`datamodules.base.order.TrainingOrder`."""
        dataset: Dataset[Sample] = self.dataset("train")
        images = len(dataset)  # type: ignore[arg-type]
        order = TrainingOrder(
            images, 1 + self.hflip, self.batch_size, *_process(), first_batch=self._batches_trained
        )
        return self._loader(WithMirrored(dataset) if self.hflip else dataset, LazyLoader, sampler=order)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Batches of the val split in order; each image is on exactly one process."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Batches of the test split, as :meth:`val_dataloader`."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Batches of the predict split, as :meth:`val_dataloader`."""
        return self._evaluation_loader("predict")

    def fixation_counts(self, split: Split, shape: Size) -> Tensor:
        """Count map of all fixations of a split, the pool of exact shuffled AUC; see :func:`fixation_counts`."""
        counts = fixation_counts(self.dataset(split), shape)
        if dropped := self.dropped_fixations(split):
            warnings.warn(
                f"{dropped} fixations of the {split} split lie outside their image and are left out; "
                f"{int(counts.sum())} remain.",
                stacklevel=2,
            )
        return counts

    def center_prior(self, shape: Size) -> Tensor:
        """Mean density of the train split, float32 [H, W], sums to 1; computed once per shape."""
        if shape not in self._center_priors:
            self._center_priors[shape] = mean_density(self.dataset("train"), shape)
        return self._center_priors[shape]

    def dropped_fixations(self, split: Split) -> int:
        """Number of fixations of a split outside their images; these are left out."""
        dataset = self.dataset(split)
        return sum(dataset.dropped_fixations(index) for index in range(len(dataset)))

    def _batches_trained(self) -> int:
        """Batches of the epoch that were trained before the checkpoint that is resumed."""
        trainer = self.trainer
        return trainer.fit_loop.batch_idx + 1 if trainer is not None and trainer.training else 0

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        dataset = self.dataset(split)
        rank, world_size = _process()
        if world_size == 1:
            return self._loader(dataset)
        if rank >= len(dataset) > 0:
            first = UnrepeatedDistributedSampler(range(1), num_replicas=1, rank=0, shuffle=False)
            return self._loader(dataset, sampler=first, collate_fn=collate_none)
        share = UnrepeatedDistributedSampler(dataset, num_replicas=world_size, rank=rank, shuffle=False)
        return self._loader(dataset, sampler=share)

    def _loader(
        self, dataset: Dataset[Sample], kind: type[DataLoader[Sample]] = DataLoader, **options: Any
    ) -> DataLoader[Sample]:
        return kind(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **({"collate_fn": collate} | options),
        )


def _process() -> tuple[int, int]:
    """Rank of this process and the number of all."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
