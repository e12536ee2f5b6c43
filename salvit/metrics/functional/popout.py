"""Whether a map singles out the odd item of a display."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.heatmaps import bool_mask, check_heatmaps, normalized
from salvit.metrics.functional.localization import check_count

COLUMNS = ("MSR_targ", "MSR_bg", "GSI", "fixations", "found")
"""The columns of `popout`."""


def popout(
    pred: Tensor, targets: Sequence[Tensor], distractors: Sequence[Tensor], limit: int = 100
) -> Tensor:
    r"""Score how a map treats the target, the distractors and the background, per image.

    .. math::
        \mathrm{MSR_{targ}} = \frac{\max_T S}{\max_D S}, \quad
        \mathrm{MSR_{bg}} = \frac{\max_B S}{\max_T S}, \quad
        \mathrm{GSI} = \frac{\bar S_T - \bar S_D}{\bar S_T + \bar S_D}

    with S the map at the size of the masks (bilinear), min-max scaled to [0, 1], T the pixels of the target, D those of
    the distractors and B all others. `fixations` is the number of fixations until the target is found, and `found` says
    whether that is within the limit: see `fixations_to_find`; the inhibited square is as large as a distractor.

    Source: Kotseruba, Wloka, Rasouli and Tsotsos, "Do saliency models detect odd-one-out targets?", BMVC 2019, and
    their published code (GSI after Soltani and Koch 2010). Their maps are 8-bit pictures, whose values begin near 0;
    here the scaling to [0, 1] ensures that. If a denominator is 0, their code gives −1; here GSI is −1, and a ratio is
    NaN. Not verified: how their tables treat −1, their dilation of the masks (none here), and the scores on their data.
    Their demonstration searches with a circle around the target in place of its mask.

    Args:
        pred: [B, h, w] on any grid and scale.
        targets: B masks [H, W], positive on the odd item.
        distractors: B masks [H, W] of the same size, positive on the other items.
        limit: number of fixations after which the target counts as not found.

    Returns:
        float64 [B, 5], in the order of `COLUMNS`, on the CPU; 1, 1 and 0 in the first three for a constant map; NaN
        throughout for an image without target or distractors or whose map is not finite.

    Raises:
        ValueError: A shape is wrong, or the limit is below 1.

    Example:
        >>> pred = torch.tensor([[[4.0, 2.0, 1.0, 0.0]]])
        >>> popout(pred, [torch.tensor([[1, 0, 0, 0]])], [torch.tensor([[0, 1, 0, 0]])])
        tensor([[2.0000, 0.2500, 0.3333, 1.0000, 1.0000]], dtype=torch.float64)
    """
    maps = check_heatmaps(pred)
    check_count(targets, maps, "targets")
    check_count(distractors, maps, "distractors")
    rows = torch.full((len(maps), len(COLUMNS)), torch.nan, dtype=torch.float64)
    for index, image in enumerate(maps):
        one, others = bool_mask(targets[index], index), bool_mask(distractors[index], index)
        if one is None or others is None or one.shape != others.shape:
            raise InvalidValueError(
                f"target and distractors of image {index} have shapes {getattr(one, 'shape', None)} and "
                f"{getattr(others, 'shape', None)}; expected the same [H, W]"
            )
        if one.any() and others.any() and image.isfinite().all():
            rows[index] = _row(image, one, others, limit)
    return rows


def _row(image: Tensor, target: Tensor, distractors: Tensor, limit: int) -> Tensor:
    saliency = normalized(image[None], (target.shape[0], target.shape[1]))[0]
    fixations, found = fixations_to_find(saliency, target, item_side(distractors), limit)
    if not saliency.any():
        return torch.tensor([1, 1, 0, fixations, found], dtype=torch.float64)
    background = saliency[~(target | distractors)]
    on_target, on_others = saliency[target], saliency[distractors]
    total = on_target.mean() + on_others.mean()
    gsi = (on_target.mean() - on_others.mean()) / total if total > 0 else -1
    ratios = _ratio(on_target, on_others), _ratio(background, on_target)
    return torch.tensor([*ratios, gsi, fixations, found], dtype=torch.float64)


def _ratio(values: Tensor, others: Tensor) -> float:
    """The largest value divided by the largest of the others; NaN if there is no value, or the others are 0."""
    return float(values.max() / others.max()) if len(values) and others.max() > 0 else torch.nan


def fixations_to_find(saliency: Tensor, target: Tensor, side: int, limit: int = 100) -> tuple[int, bool]:
    """Count the fixations of a search that fixates the highest peak, inhibits a square around it, and goes on.

    Source: the published code of Kotseruba et al., BMVC 2019: a square that begins at floor(peak − side/2) or the edge
    and ends before floor(peak + side/2) is set to 0. Their search goes on fixating the first pixel of a map that is 0
    throughout; this one gives up then, with the same result unless that pixel is on the target.

    Args:
        saliency: [H, W], non-negative and finite.
        target: bool [H, W], True on the target.
        side: side of the inhibited square in pixels.
        limit: number of fixations after which the search is given up.

    Returns:
        The number of fixations, the one that found the target included, and True; (limit, False) if it was not found.

    Raises:
        ValueError: The side or the limit is below 1.

    Example:
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
    """Size of an item in pixels: the median over the distractors of the longer side of their boxes, rounded down.

    Items are the regions of the mask, bool [H, W], that are connected by their edges.
    """
    regions, _ = label(distractors.numpy())
    sides = [max(part.stop - part.start for part in box) for box in find_objects(regions)]
    return int(np.median(sides))
