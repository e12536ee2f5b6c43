"""The order of training images: it follows from seed, epoch and batch, so that a resumed run goes on exactly."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datamodules.base.dataset import Sample
from datamodules.base.view import mirrored


class WithMirrored(Dataset[Sample]):
    """A dataset twice as long: its samples, then the same samples mirrored. `mirrored` in a sample says which it is.

    Args:
        dataset: a dataset of n samples.

    Example:
        >>> import torch
        >>> both = WithMirrored([{"image": torch.arange(3.0).expand(3, 1, 3)}])
        >>> [sample["image"][0, 0].tolist() for sample in (both[0], both[1])]
        [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]
    """

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset
        self.images: int = len(dataset)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Twice the number of images."""
        return 2 * self.images

    def __getitem__(self, index: int) -> Sample:
        """The sample of image `index % n`, mirrored if `index` is at least n."""
        mirror, index = divmod(index, self.images)
        sample = self.dataset[index]
        return mirrored(sample) if mirror else {**sample, "mirrored": False}


class TrainingOrder(DistributedSampler[int]):
    """Every image once an epoch, in an order that follows from the seed and the epoch.

    Several processes share each batch of one process: with half the batch size, two processes take the same batches in
    the same order. If the last batch cannot be divided equally among the processes, some of its images are repeated.

    Args:
        images: number n of images.
        copies: number of samples of each image, i, i + n, i + 2n …, of which an epoch takes one at random.
        batch_size: samples per batch and process.
        rank: rank of this process.
        processes: number of processes.
        first_batch: returns the number of batches that a resumed run has trained on already and leaves out.

    Example:
        >>> order = TrainingOrder(images=5, copies=2, batch_size=2)
        >>> [index % 5 for index in order], len(order)
        ([2, 4, 3, 0, 1], 5)
        >>> halves = [list(TrainingOrder(5, 2, batch_size=1, rank=rank, processes=2)) for rank in (0, 1)]
        >>> [index % 5 for index in halves[0]], [index % 5 for index in halves[1]]
        ([2, 3, 1], [4, 0, 1])
    """

    def __init__(
        self,
        images: int,
        copies: int,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        first_batch: Callable[[], int] = int,
    ) -> None:
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # that of Lightning's seed_everything
        super().__init__(range(images), processes, rank, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self.images = images
        self.copies = copies
        self.batch_size = batch_size
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[int]:
        """Samples of this process, batch by batch."""
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.images) + self.images * random.integers(self.copies, size=self.images)
        step = self.batch_size * self.num_replicas
        for begin in range(self.first_batch() * step, self.images, step):
            batch = order[begin : begin + step]
            share = -(-len(batch) // self.num_replicas)
            yield from np.resize(batch, share * self.num_replicas)[self.rank :: self.num_replicas].tolist()


class LazyLoader(DataLoader[Sample]):
    """A loader that begins to load when the first batch is asked for.

    Lightning makes the iterator before it knows the epoch and the batch of the checkpoint that is resumed.
    """

    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]
        """Batches of one epoch."""
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the order follows from epoch and batch. It tells Lightning that the loader can resume."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is no state."""
