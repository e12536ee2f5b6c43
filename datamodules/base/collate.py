"""Samples into a batch, without ever resizing ground truth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from datamodules.base.dataset import Sample
from salvit.errors import InvalidValueError

Batch: TypeAlias = dict[str, Any]


def _stack_if_equal(tensors: list[Tensor]) -> Tensor | list[Tensor]:
    same = all(tensor.shape == tensors[0].shape for tensor in tensors)
    return torch.stack(tensors) if same else tensors


def _stack_if_all(tensors: list[Tensor | None]) -> Tensor | list[Tensor | None]:
    there = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(there) if len(there) == len(tensors) else tensors


_COLLATE: Mapping[str, Callable[[list[Any]], Any]] = {
    "image": torch.stack,
    "density": _stack_if_equal,
    "fixations": list,
    "size": list,
    "name": list,
    "category": list,
    "index": torch.tensor,
    "mirrored": list,
    "label": torch.tensor,
    "labels": torch.stack,
    "boxes": list,
    "box_labels": list,
    "mask": _stack_if_all,
    "target": _stack_if_equal,
    "distractors": _stack_if_equal,
    "items": torch.stack,
    "singleton": list,
}


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples into one batch.

    Args:
        samples: dicts as :class:`datamodules.base.dataset.SaliencyDataset` describes them, all with the same keys.

    Returns:
        ``image`` [B, 3, H, W] and ``labels`` [B, C] stacked; ``density``, ``target`` and ``distractors``
        [B, H0, W0] if all native sizes agree, else lists of B tensors; ``mask`` [B, H, W] if all images have
        one, else a list of B tensors [H, W] or None; ``fixations``, ``boxes`` and ``box_labels`` lists of B
        tensors [n, 2], [n, 4] and [n]; ``size``, ``name``, ``category`` and ``mirrored`` lists; ``index`` and
        ``label`` int64 tensors [B].

    Raises:
        ValueError: if there are no samples or their keys differ.

    Example:
        >>> import torch
        >>> samples = [{"fixations": torch.zeros(n, 2), "index": n} for n in (0, 5)]
        >>> batch = collate(samples)
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
    return {key: _COLLATE[key]([sample[key] for sample in samples]) for key in keys}


def collate_none(samples: Sequence[Sample]) -> Batch:
    """Make a batch of no images: what a process has that got none, so that it takes part in all the others do.

    Args:
        samples: any of the dataset; they only show what a batch has.

    Returns:
        What :func:`collate` returns, with B = 0.

    Example:
        >>> import torch
        >>> batch = collate_none([{"image": torch.zeros(3, 8, 8), "name": "a"}])
        >>> batch["image"].shape, batch["name"]
        (torch.Size([0, 3, 8, 8]), [])
    """
    return {key: values[:0] for key, values in collate(samples).items()}
