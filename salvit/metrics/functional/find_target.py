"""A search that goes from peak to peak of a map."""

import numpy as np
from scipy.ndimage import find_objects, label
from torch import Tensor

from salvit.errors import InvalidValueError


def fixations_to_find(saliency: Tensor, target: Tensor, side: int, limit: int = 100) -> tuple[int, bool]:
    """Count the fixations of a search that fixates the highest peak, inhibits a square around it, and goes on.

    Source: Kotseruba et al., "Do saliency models detect odd-one-out targets?", BMVC 2019, as their published code
    computes it: a square that begins at floor(peak − side/2) or the edge and ends before floor(peak + side/2) is
    set to 0. Their search goes on fixating the first pixel of a map that is 0 throughout; this one gives up then,
    with the same result unless that pixel is on the target.

    Args:
        saliency: [H, W], non-negative and finite.
        target: bool [H, W], True on the target.
        side: of the inhibited square in pixels.
        limit: number of fixations after which the search is given up.

    Returns:
        The number of fixations, the one that found the target included, and whether it was found; (limit, False)
        if it was not.

    Raises:
        ValueError: If the side or the limit is below 1.

    Example:
        >>> import torch
        >>> saliency = torch.tensor([[3.0, 2.0, 0.0, 0.0, 1.0]])
        >>> fixations_to_find(saliency, saliency == 1, side=4)
        (2, True)
    """
    if side < 1 or limit < 1:
        raise InvalidValueError(f"side {side} and limit {limit} must be at least 1")
    left, (height, width) = saliency.clone(), saliency.shape
    for fixation in range(1, limit + 1):
        peak = int(left.argmax())
        row, column = divmod(peak, width)
        if left[row, column] <= 0:
            break
        if target[row, column]:
            return fixation, True
        rows = slice(max(0, int(row - side / 2)), min(height, int(row + side / 2)))
        columns = slice(max(0, int(column - side / 2)), min(width, int(column + side / 2)))
        left[rows, columns] = 0
        left[row, column] = 0  # at a side of 1 the square is empty
    return limit, False


def item_side(distractors: Tensor) -> int:
    """Size of an item: the median over the distractors of the longer side of their bounding boxes.

    Args:
        distractors: bool [H, W], True on at least one item; items are regions connected by their edges.

    Returns:
        The size in pixels, rounded down.

    Example:
        >>> import torch
        >>> item_side(torch.tensor([[True, True, False, True], [False, False, False, True]]))
        2
    """
    regions, _ = label(distractors.numpy())
    sides = [max(part.stop - part.start for part in box) for box in find_objects(regions)]
    return int(np.median(sides))
