"""What is computed for a batch of images: what the model says, and a method's map of a class."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from salvit.explain.task import Task
from salvit.vit import num_classes


def probabilities(task: Task, images: Tensor) -> Tensor | None:
    """Return the model's class probabilities [B, C] on the CPU, or None for a model without a head.

    Args:
        task: the model.
        images: [B, 3, H, W], normalised for the model.

    Raises:
        ValueError: if what the model says is not finite.
        RuntimeError: if the device has not enough memory.
    """
    with torch.no_grad(), _enough_memory("the model", len(images)):
        output: Tensor = task.vit(images).float().cpu()
    if not output.isfinite().all():
        raise ValueError(
            f"{task.model} gives NaN or infinity, of which there is nothing to explain: are its weights whole?"
        )
    return output.softmax(dim=-1) if num_classes(task.vit) else None


def saliency_of(task: Task, method: str, images: Tensor, target: Tensor | None) -> Tensor:
    """Return one map per image, float32 [B, h, w] on the CPU, at the method's own resolution.

    Args:
        task: the model and the methods.
        method: label of one of them; the mean over its K maps is taken.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for a method that explains no class.

    Raises:
        RuntimeError: if the device has not enough memory.
    """
    with _enough_memory(method, len(images)):
        maps = task.methods[method](task.vit, images, target)
    return maps.float().mean(dim=1).cpu()


@contextmanager
def _enough_memory(what: str, images: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RuntimeError(
            f"{what} needs more memory than the device has for {images} images at a time: "
            "lower --batch-size, or take --device cpu"
        ) from error
