"""The target's probability as pixels are removed in the order of a heatmap."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.requirements import check_images, check_target
from salvit.metrics.functional.heatmaps import check_heatmaps, upsampled
from salvit.vit import ViT, require_frozen_vit

BATCH_SIZE = 64


class Span(NamedTuple):
    """Pixels to remove: those whose rank in an order is at least `low` and below `high`."""

    order: int
    low: int
    high: int


def check_perturbation(
    vit: ViT, images: Tensor, heatmaps: Tensor, target: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Return the heatmaps at pixel resolution and the target classes, or say what does not fit.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w].
        target: a class index, or int64 [B].

    Returns:
        Heatmaps [B, H·W] and classes [B], on the images' device.

    Raises:
        TypeError: if the model is not a plain timm ViT, or the images are not floats.
        ValueError: if a shape, dtype or device does not fit, or a target is no class of the model.
    """
    require_frozen_vit(vit)
    check_images(vit, images)
    classes = check_target(vit, images, target)
    assert classes is not None, "a target was given"
    if len(heatmaps) != len(images):
        raise InvalidValueError(
            f"there are {len(heatmaps)} heatmaps for {len(images)} images; expected one each"
        )
    size = (images.shape[2], images.shape[3])
    return upsampled(check_heatmaps(heatmaps).to(images.device), size).flatten(1), classes


def ranks(heatmaps: Tensor, descending: bool) -> Tensor:
    """Position of each pixel in the order of its heatmap; equal pixels in reading order.

    Args:
        heatmaps: [B, N].
        descending: Whether the largest value comes first.

    Returns:
        int32 [B, N], each row a permutation of 0 … N − 1.

    Example:
        >>> ranks(torch.tensor([[5.0, 7.0, 5.0]]), descending=False)
        tensor([[0, 2, 1]], dtype=torch.int32)
        >>> ranks(torch.tensor([[5.0, 7.0, 5.0]]), descending=True)
        tensor([[1, 0, 2]], dtype=torch.int32)
    """
    order = _comparable(heatmaps).argsort(dim=1, descending=descending, stable=True)
    positions = torch.arange(heatmaps.shape[1], device=heatmaps.device, dtype=torch.int32).expand_as(order)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, positions)


def _comparable(heatmaps: Tensor) -> Tensor:
    """Values without the rounding errors of float32, which would order equal pixels by the layout of the batch.

    To 17 binary digits each, not to a share of the largest: in a map with a peak, most pixels are small, not equal.
    """
    if heatmaps.dtype == torch.float64:
        return heatmaps
    digits, exponent = torch.frexp(heatmaps.double())
    return torch.ldexp((digits * 2**17).round(), exponent)


@torch.no_grad()
def target_probabilities(
    vit: ViT,
    images: Tensor,
    fills: Tensor,
    orders: Tensor,
    spans: Sequence[Span],
    classes: Tensor,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Softmax probability of the target after each removal, one forward pass per image and removal.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        fills: broadcasting to [B, 3, H, W], what removed pixels become (`filled`).
        orders: int [B, D, H·W], ranks of the pixels in D orders.
        spans: S removals.
        classes: int64 [B].
        batch_size: perturbed images per forward pass, which bounds the memory.

    Returns:
        [B, S], float32 or the model's dtype if wider.

    Raises:
        ValueError: if `batch_size` is below 1.
    """
    if batch_size < 1:
        raise InvalidValueError(f"batch_size must be at least 1; got {batch_size}")
    if not len(images):
        return images.new_empty(0, len(spans))
    pairs = torch.tensor([(image, *span) for image, span in product(range(len(images)), spans)])
    chunks = pairs.to(images.device).split(batch_size)
    found = [_probabilities(vit, images, fills, orders, chunk, classes) for chunk in chunks]
    return torch.cat(found).view(len(images), len(spans))


def _probabilities(
    vit: ViT, images: Tensor, fills: Tensor, orders: Tensor, pairs: Tensor, classes: Tensor
) -> Tensor:
    """Probabilities [C] for the pairs [C, 4] of image, order, low and high."""
    image, order, low, high = pairs.unbind(1)
    rank = orders[image, order]
    removed = ((rank >= low[:, None].int()) & (rank < high[:, None].int())).view(-1, 1, *images.shape[2:])
    logits = vit(torch.where(removed, fills[image], images[image]))
    probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    return probabilities.gather(1, classes[image][:, None])[:, 0]


def scored_rows(scores: Tensor, scored: Tensor) -> Tensor:
    """Put rows back among those of images that could not be scored.

    Args:
        scores: [n, ...] floats of the images that could.
        scored: bool [B] with n True.

    Returns:
        [B, ...], NaN for the others.

    Example:
        >>> scored_rows(torch.tensor([[1.0]]), torch.tensor([False, True]))
        tensor([[nan],
                [1.]])
    """
    rows = scores.new_full((len(scored), *scores.shape[1:]), torch.nan)
    rows[scored] = scores
    return rows
