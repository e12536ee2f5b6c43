"""What is computed for a batch of images: what the model says, and each method's map of each class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from salvit.extractors import Extractor
from salvit.vit import ViT


class Maps(NamedTuple):
    """A method's maps of a batch.

    Attributes:
        method: its name.
        target: position of the class among the targets, or None for a method that explains no class.
        saliency: float32 [B, h, w] on the CPU, at the method's own resolution.
    """

    method: str
    target: int | None
    saliency: Tensor


def probabilities(vit: ViT, images: Tensor) -> Tensor | None:
    """Return the model's class probabilities [B, C] on the CPU, or None for a model without a head.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
    """
    if not vit.num_classes:
        return None
    with torch.no_grad():
        logits: Tensor = vit(images)
    return logits.float().softmax(dim=-1).cpu()


def maps_of(
    vit: ViT, images: Tensor, methods: Mapping[str, Extractor], targets: Sequence[Tensor]
) -> Iterator[Maps]:
    """Yield one map per image for every method, and for each of the targets if it explains a class.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        methods: extractors by name; the mean over a method's K maps is taken.
        targets: int64 [B] each.

    Raises:
        RuntimeError: if the device has not enough memory.
    """
    for name, extractor in methods.items():
        wanted = enumerate(targets) if extractor.class_specific else [(None, None)]
        for position, target in wanted:
            try:
                saliency = extractor(vit, images, target)
            except torch.OutOfMemoryError as error:
                raise RuntimeError(
                    f"{name} needs more memory than the device has for {len(images)} images at a time: "
                    "lower --batch-size, or take --device cpu"
                ) from error
            yield Maps(name, position, saliency.float().mean(dim=1).cpu())
