"""Area under the ROC curve against the fixations of other images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.counts import check_pool, resized_pixels
from salvit.metrics.functional.fixations import fixation_indices
from salvit.metrics.functional.maps import check_maps
from salvit.metrics.functional.ranking import mann_whitney_auc, rankable


def shuffled_auc(
    pred: Tensor, fixations: Sequence[Tensor], pool: Tensor, own: Sequence[Tensor] | None = None
) -> Tensor:
    r"""Exact shuffled AUC of each image: its fixations against other images', so center bias earns nothing.

    .. math:: \mathrm{sAUC} = \frac{1}{n m} \sum_{i=1}^{n} \sum_{j=1}^{m} [S_i > S_j] + \tfrac12 [S_i = S_j]

    where i runs over this image's n fixations and j over the m fixations of all other images, each as often
    as it occurs. Sources: Tatler et al., "Visual correlates of fixation selection", Vision Research 2005;
    Zhang et al., "SUN", Journal of Vision 2008; the exact form is pysaliency's.

    Args:
        pred: [B, H, W] saliency maps; only their order matters, which is taken in their own dtype.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        pool: [H', W'] count map of the fixations of all images, these included (see `fixation_counts`). Where
            its size is not the prediction's, its points are rescaled as coordinates,
            x' = (x + 0.5) · W/W' − 0.5.
        own: all fixations on these images, where `fixations` are those of some observers only: what the pool is
            freed of. None: `fixations` are all.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map, NaN for an image without fixations or with an empty
        pool, that is where no other image has a fixation.

    Raises:
        ValueError: A shape does not fit, a map is not finite, a fixation lies outside its map, `pool` is no
            count map, or it lacks one of the images' own fixations.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> pool = torch.tensor([[1, 2], [0, 1]])
        >>> shuffled_auc(pred, [torch.tensor([[1.0, 0.0]])], pool)  # one of the two at (1, 0) is its own
        tensor([0.5000], dtype=torch.float64)
    """
    maps, counts = check_maps(pred, "pred"), check_pool(pool)
    size, shape = (maps.shape[1], maps.shape[2]), (counts.shape[0], counts.shape[1])
    everyones = fixation_indices(fixations if own is None else own, [size] * len(maps), shape)
    _check_own(everyones, counts)
    moved = resized_pixels(shape, size)
    everyone = np.bincount(moved, weights=counts.flatten(), minlength=size[0] * size[1]).astype(int)
    rows = zip(rankable(maps), fixation_indices(fixations, [size] * len(maps)), everyones, strict=True)
    scores = [_score(values, index.numpy(), everyone, moved[mine.numpy()]) for values, index, mine in rows]
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _score(values: np.ndarray, index: np.ndarray, everyone: np.ndarray, own: np.ndarray) -> float:
    """Shuffled AUC of one map with fixations at `index`, which everyone's counts hold at `own`."""
    others = everyone - np.bincount(own, minlength=len(everyone))
    fixated = np.flatnonzero(others)
    return mann_whitney_auc(values[index], values[fixated], others[fixated])


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
