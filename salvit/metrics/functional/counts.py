"""Count maps: how often each pixel was fixated in a whole set of images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size, fixation_indices


def fixation_counts(fixations: Sequence[Tensor], sizes: Sequence[Size], shape: Size) -> Tensor:
    """Count map of the fixations of many images, the pool of shuffled AUC.

    Points are rescaled from their image's size to `shape` as coordinates. Counts of parts of a dataset add up
    to those of the whole, so processes can each count their images and sum (`torch.distributed.all_reduce`).

    Args:
        fixations: One [n, 2] of (x, y) per image, in pixels of that image.
        sizes: (H, W) of each image.
        shape: (H', W') of the count map; the evaluation's most frequent image size is a good choice.

    Returns:
        int64 [H', W'] whose sum is the number of fixations.

    Raises:
        ValueError: There is not one [n, 2] per image, or a point lies outside its image.

    Example:
        >>> fixations = [torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([[5.0, 3.0]])]
        >>> fixation_counts(fixations, sizes=[(2, 3), (4, 6)], shape=(2, 3))
        tensor([[1, 0, 0],
                [0, 0, 2]])
    """
    indices = fixation_indices(fixations, sizes, shape)
    pixels = shape[0] * shape[1]
    return torch.cat([torch.empty(0, dtype=torch.int64), *indices]).bincount(minlength=pixels).reshape(shape)


def check_pool(pool: Tensor) -> Tensor:
    """Return a count map as int64 [H, W] on the CPU.

    Args:
        pool: [H, W], any real dtype, holding whole numbers ≥ 0.

    Returns:
        The same counts; int64, so that no cast of a model to half precision can round them.

    Raises:
        ValueError: The shape is not [H, W], or a value is negative, fractional or not finite.

    Example:
        >>> check_pool(torch.tensor([[2.0, 0.0]]))
        tensor([[2, 0]])
    """
    if pool.ndim != 2 or 0 in pool.shape:
        raise InvalidValueError(
            f"pool has shape {tuple(pool.shape)}; expected one count map [H, W] (see fixation_counts)"
        )
    counts = pool.detach().cpu()
    whole = counts.long()
    if not ((counts == whole) & (whole >= 0)).all():
        raise InvalidValueError(
            "pool holds negative, fractional or non-finite values; expected the number of fixations of every "
            "pixel, as fixation_counts gives it, not a density"
        )
    return whole


def resized_pixels(shape: Size, target: Size) -> np.ndarray:
    """For every pixel of a map, the pixel of another map that its centre falls into, both row-major.

    Args:
        shape: (H, W) of the map.
        target: (H', W') of the other.

    Returns:
        int64 [H·W], each in [0, H'·W').

    Example:
        >>> resized_pixels((1, 4), (1, 2)).tolist()
        [0, 0, 1, 1]
    """
    rows = (2 * np.arange(shape[0]) + 1) * target[0] // (2 * shape[0])
    columns = (2 * np.arange(shape[1]) + 1) * target[1] // (2 * shape[1])
    return (rows[:, None] * target[1] + columns).ravel()
