"""Sampled shuffled AUC: the MIT benchmark's area under the ROC curve against other images' fixations."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.draws import check_sampling, distinct, generator, image_key
from salvit.metrics.functional.fixations import Size, fixation_indices
from salvit.metrics.functional.maps import check_maps, minmax_normalize
from salvit.metrics.functional.other_images import OtherImages
from salvit.metrics.functional.stepped_auc import stepped_auc


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

    The map is brought to [0, 1]. The pool is the union of the binary fixation maps of 10 other images, drawn once
    for each image. In each split as many of its pixels as are fixated, or all if it has fewer, are drawn without
    replacement, thresholds are 0, step, 2·step …, and the score is the mean area over the splits. A pixel fixated
    twice counts once. Source: the MIT saliency benchmark's AUC_shuffled.m.

    Args:
        pred: [B, H, W] saliency maps on any scale, at the native size of their images.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        others: the fixations of all images, these included.
        images: how many other images make up the pool; all if there are fewer.
        splits: number of draws.
        step: between thresholds, of a map in [0, 1].
        seed: of the draws, which also depend on the image (see `image_key`), not on its batch.
        own: all fixations on these images, where `fixations` are those of some observers only: by which `others`
            knows the image. None: `fixations` are all.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map (the script gives NaN), NaN for an image without fixations or
        where no other image has any.

    Raises:
        ValueError: A shape does not fit, a map is not finite, a fixation lies outside its map, `others` lacks the
            image, or `images`, `splits`, `step` or `seed` is out of range.

    Example:
        >>> fixations = [torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])]
        >>> others = OtherImages(fixations, [(2, 2), (2, 2)])
        >>> sampled_shuffled_auc(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]).repeat(2, 1, 1), fixations, others)
        tensor([1., 0.], dtype=torch.float64)
    """
    check_sampling(splits, step)
    if images < 1:
        raise InvalidValueError(f"images is {images}; expected at least 1 other image to draw")
    maps = check_maps(pred, "pred")
    size = (maps.shape[1], maps.shape[2])
    rows = minmax_normalize(maps.double().flatten(1)).cpu().numpy()
    indices, everyones = (
        fixation_indices(points, [size] * len(maps))
        for points in (fixations, fixations if own is None else own)
    )
    scores = [
        _score(values, index.numpy(), everyone.numpy(), size, others, images, splits, step, seed)
        for values, index, everyone in zip(rows, indices, everyones, strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _score(
    values: np.ndarray,
    index: np.ndarray,
    everyone: np.ndarray,
    size: Size,
    others: OtherImages,
    images: int,
    splits: int,
    step: float,
    seed: int,
) -> float:
    if len(index) == 0:
        return float("nan")
    random = generator(seed, image_key(everyone, size))
    pool = others.pixels(everyone, size, images, random)
    if len(pool) == 0:
        return float("nan")
    fixated = distinct(index)
    drawn = [random.choice(pool, min(len(fixated), len(pool)), replace=False) for _ in range(splits)]
    return stepped_auc(values[fixated], values[np.stack(drawn)], step)
