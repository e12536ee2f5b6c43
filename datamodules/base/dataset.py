"""The interface of every dataset, its samples and batches, and the errors of a dataset that cannot be used."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from salvit.errors import InvalidValueError, SalvitError

Sample: TypeAlias = dict[str, Any]
Batch: TypeAlias = dict[str, Any]
Size: TypeAlias = tuple[int, int]
T = TypeVar("T")


class DatasetNotFoundError(SalvitError, FileNotFoundError):
    """A part of the dataset is missing; the message has its path, the expected layout and the source."""


class CorruptFileError(SalvitError, ValueError):
    """A file of the dataset exists but cannot be used; the message begins with its path."""


class SaliencyDataset(Dataset[Sample], ABC):
    """A map-style dataset of images with fixations, labels or objects.

    A sample is a dict. Its keys are ``image`` float32 [3, H, W], RGB in [0, 1], not normalised; ``size``, the native
    (H0, W0); ``name``, unique, used for output files; ``index``; and, where the dataset has them:

    - ``mirrored``: whether augmentation mirrored the sample;
    - ``density`` float32 [H0, W0], non-negative, sums to 1 (all zero without fixations);
    - ``fixations`` float32 [n, 2] of (x, y) in native pixels, 0-based with pixel centres at integers, with repetitions;
    - ``label`` int, the class index; ``labels`` float32 [C] in {0, 1}, all classes in the image;
    - ``boxes`` float32 [n, 4] of edges (x0, y0, x1, y1) in pixels of ``image``, inside it and not empty, (0, 0, W, H)
      being the whole image; ``box_labels`` int64 [n];
    - ``mask`` float32 [H, W] in {0, 1}, or None for an image without one;
    - ``category``, the kind of image; ``target`` and ``distractors`` bool [H0, W0], the odd item and the others.

    The methods below do not decode or render the image, so that statistics of a whole split are cheap.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample at a position in ``range(len(self))``."""

    def name(self, index: int) -> str:
        """Name of the image, as in the sample."""
        return str(self[index]["name"])

    @abstractmethod
    def size(self, index: int) -> Size:
        """Native (height, width) of the image in pixels."""

    @abstractmethod
    def fixations(self, index: int) -> Tensor:
        """Fixations inside the image, as in the sample but never mirrored."""

    @abstractmethod
    def density(self, index: int) -> Tensor:
        """Density of the fixations, as in the sample but never mirrored."""

    def observers(self, index: int) -> list[Tensor] | None:
        """Fixations of each observer inside the image, float32 [n_i, 2]; None if observers are not known."""
        return None

    def fingerprint(self) -> str:
        """Text that changes with the images, even if their names and the options of the datamodule stay the same."""
        return str(len(self))

    def dropped_fixations(self, index: int) -> int:
        """Number of recorded fixations outside the image, which are left out."""
        return 0


def _stack_if_equal(tensors: list[Tensor | None]) -> Tensor | list[Tensor | None]:
    """Stack tensors if none is missing and all have the same shape."""
    present = [tensor for tensor in tensors if tensor is not None]
    same = len(present) == len(tensors) and len({tensor.shape for tensor in present}) == 1
    return torch.stack(present) if same else tensors


_COLLATE: Mapping[str, Callable[[list[Any]], Any]] = {
    **dict.fromkeys(("image", "labels", "items"), torch.stack),
    **dict.fromkeys(("density", "mask", "target", "distractors"), _stack_if_equal),
    **dict.fromkeys(("index", "label"), torch.tensor),
}
"""How values are collated; those of all other keys stay lists."""


def collate(samples: Sequence[Sample]) -> Batch:
    """Collate samples of a :class:`SaliencyDataset` into a batch; ground truth is never resized.

    Returns:
        ``image`` [B, 3, H, W] and ``labels`` [B, C] stacked; ``density``, ``target`` and ``distractors``
        [B, H0, W0] if all native sizes agree, else lists; ``mask`` [B, H, W] if all images have one, else a
        list with None; ``index`` and ``label`` int64 [B]; every other key a list of B.

    Raises:
        ValueError: if there are no samples or their keys differ.

    Example:
        >>> batch = collate([{"fixations": torch.zeros(n, 2), "index": n} for n in (0, 5)])
        >>> [len(points) for points in batch["fixations"]], batch["index"]
        ([0, 5], tensor([0, 5]))
    """
    if not samples:
        raise InvalidValueError("cannot collate an empty list of samples.")
    keys = samples[0].keys()
    for sample in samples:
        if sample.keys() != keys:
            raise InvalidValueError(
                f"cannot collate samples with different keys: {sorted(keys)} and {sorted(sample.keys())}; "
                "a dataset must give the same keys for every image."
            )
    return {key: _COLLATE.get(key, list)([sample[key] for sample in samples]) for key in keys}


def collate_none(samples: Sequence[Sample]) -> Batch:
    """An empty batch, B = 0, with the keys of the samples: for a process that has no image.

    Example:
        >>> batch = collate_none([{"image": torch.zeros(3, 8, 8), "name": "a"}])
        >>> batch["image"].shape, batch["name"]
        (torch.Size([0, 3, 8, 8]), [])
    """
    return {key: values[:0] for key, values in collate(samples).items()}


def track(items: Iterable[T], description: str, total: int, delay: float = 2.0) -> Iterable[T]:
    """Loop over items with a progress bar on stderr, shown by the first process after ``delay`` seconds, not with `-q`.

    Example:
        >>> list(track("abc", "spelling", total=3))
        ['a', 'b', 'c']
    """
    is_first = getattr(rank_zero_only, "rank", 0) == 0
    quiet = logging.getLogger("salvit").level > logging.INFO
    return tqdm(items, description, total, delay=delay, leave=False, disable=not is_first or quiet)
