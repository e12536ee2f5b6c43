"""Areas under ROC curves: fixations against those on other images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.auc import mann_whitney_auc, rankable, stepped_auc, unit_rows
from salvit.metrics.functional.fixations import (
    OtherImages,
    check_pool,
    check_sampling,
    fixation_indices,
    generator,
    image_key,
    maps_and_indices,
    resized_pixels,
)


def shuffled_auc(
    pred: Tensor, fixations: Sequence[Tensor], pool: Tensor, own: Sequence[Tensor] | None = None
) -> Tensor:
    r"""Exact shuffled AUC of each image: its fixations against those on other images, so center bias earns nothing.

    .. math:: \mathrm{sAUC} = \frac{1}{n m} \sum_{i=1}^{n} \sum_{j=1}^{m} [S_i > S_j] + \tfrac12 [S_i = S_j]

    where i runs over the n fixations on this image and j over the m fixations on all other images, each as often as it
    occurs. Sources: Tatler et al., "Visual correlates of fixation selection", Vision Research 2005; Zhang et al.,
    "SUN", Journal of Vision 2008; the exact form is pysaliency's.

    Args:
        pred: [B, H, W] saliency maps; only their order matters.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        pool: [H', W'] count map of the fixations of all images, these included (see `fixation_counts`). Points of a
            pool of another size are rescaled as coordinates, x' = (x + 0.5) · W/W' − 0.5.
        own: all fixations on these images, which are taken out of the pool, if `fixations` has only some of them, such
            as one observer's. None: `fixations` has all.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map, NaN for an image without fixations or where no other image has
        any.

    Raises:
        ValueError: A shape is wrong, a map is not finite, a fixation lies outside its map, `pool` is no count map, or
            it lacks a fixation of these images.

    Example:
        >>> pred, pool = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), torch.tensor([[1, 2], [0, 1]])
        >>> shuffled_auc(pred, [torch.tensor([[1.0, 0.0]])], pool)  # one of the two at (1, 0) is its own
        tensor([0.5000], dtype=torch.float64)
    """
    (maps, indices), counts = maps_and_indices(pred, fixations), check_pool(pool)
    size, shape = (maps.shape[1], maps.shape[2]), (counts.shape[0], counts.shape[1])
    everyones = fixation_indices(fixations if own is None else own, [size] * len(maps), shape)
    _check_own(everyones, counts)
    moved = resized_pixels(shape, size)
    everyone = np.bincount(moved, weights=counts.flatten(), minlength=size[0] * size[1]).astype(int)
    scores = []
    for values, index, mine in zip(rankable(maps), indices, everyones, strict=True):
        others = everyone - np.bincount(moved[mine.numpy()], minlength=len(everyone))
        fixated = np.flatnonzero(others)
        scores.append(mann_whitney_auc(values[index.numpy()], values[fixated], others[fixated]))
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _check_own(own: Sequence[Tensor], counts: Tensor) -> None:
    for image, index in enumerate(own):
        pixels, times = index.unique(return_counts=True)
        missing = pixels[counts.flatten()[pixels] < times].tolist()
        if missing:
            y, x = divmod(missing[0], counts.shape[1])
            raise InvalidValueError(
                f"pool lacks a fixation of image {image} of the batch at its pixel (x={x}, y={y}); expected "
                "the count map of all images' fixations, this image's included: build it with "
                "fixation_counts from the same data"
            )


def sampled_shuffled_auc(
    pred: Tensor,
    fixations: Sequence[Tensor],
    others: OtherImages,
    images: int = 10,
    splits: int = 100,
    step: float = 0.1,
    seed: int = 0,
    own: Sequence[Tensor] | None = None,
) -> Tensor:
    """Shuffled AUC of each image as the MIT benchmark samples it; `shuffled_auc` is the exact one.

    The map is brought to [0, 1]. The pool is the union of the binary fixation maps of some other images, drawn once
    for each image. Each split draws as many of its pixels as are fixated, or all if it has fewer, without replacement;
    the score is the mean area over the splits. A pixel fixated twice counts once. Source: the MIT benchmark's
    AUC_shuffled.m.

    Args:
        pred: [B, H, W] saliency maps on any scale, at the native size of their images.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        others: the fixations of all images, these included.
        images: number of other images whose fixations make the pool; all if there are fewer.
        splits: number of draws.
        step: between thresholds, of a map in [0, 1].
        seed: seed of the draws, which also depend on the image, not on its batch.
        own: all fixations on these images, if `fixations` has only some of them, such as one observer's.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map (the script gives NaN), NaN for an image without fixations or
        where no other image has any.

    Raises:
        ValueError: A shape is wrong, a map is not finite, a fixation lies outside its map, `others` lacks the image,
            or `images`, `splits`, `step` or `seed` is out of range.

    Example:
        >>> fixations = [torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])]
        >>> others = OtherImages(fixations, [(2, 2), (2, 2)])
        >>> sampled_shuffled_auc(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]).repeat(2, 1, 1), fixations, others)
        tensor([1., 0.], dtype=torch.float64)
    """
    check_sampling(splits, step)
    if images < 1:
        raise InvalidValueError(f"images is {images}; expected at least 1 other image to draw")
    maps, indices = maps_and_indices(pred, fixations)
    size = (maps.shape[1], maps.shape[2])
    everyones = indices if own is None else fixation_indices(own, [size] * len(maps))
    scores = torch.full((len(maps),), torch.nan, dtype=torch.float64)
    for row, (values, index, everyone) in enumerate(zip(unit_rows(maps), indices, everyones, strict=True)):
        if len(index) == 0:
            continue
        random = generator(seed, image_key(everyone.numpy(), size))
        pool, fixated = others.pixels(everyone.numpy(), size, images, random), np.unique(index.numpy())
        if len(pool):
            drawn = [random.choice(pool, min(len(fixated), len(pool)), replace=False) for _ in range(splits)]
            scores[row] = stepped_auc(values[fixated], values[np.stack(drawn)], step)
    return scores.to(maps.device)
