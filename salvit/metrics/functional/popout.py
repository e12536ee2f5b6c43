"""Whether a map singles out the odd item of a display."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.boxes import check_count
from salvit.metrics.functional.find_target import fixations_to_find, item_side
from salvit.metrics.functional.heatmaps import check_heatmaps, normalized
from salvit.metrics.functional.masks import bool_mask

COLUMNS = ("MSR_targ", "MSR_bg", "GSI", "fixations", "found")
"""What a row of `popout` says."""


def popout(
    pred: Tensor, targets: Sequence[Tensor], distractors: Sequence[Tensor], limit: int = 100
) -> Tensor:
    r"""Score how a map treats the target, the distractors and the background, per image.

    .. math::
        \mathrm{MSR_{targ}} = \frac{\max_T S}{\max_D S}, \quad
        \mathrm{MSR_{bg}} = \frac{\max_B S}{\max_T S}, \quad
        \mathrm{GSI} = \frac{\bar S_T - \bar S_D}{\bar S_T + \bar S_D}

    with S the map at the masks' size (bilinear) and min-max scaled to [0, 1], T the target's pixels, D the
    distractors' and B all others. A target that stands out has a high MSR_targ, a low MSR_bg and a GSI near 1.
    `fixations` is the number of fixations until the target is found, and `found` whether it is within the limit:
    see `salvit.metrics.functional.find_target.fixations_to_find`; the region inhibited is a square as large as a
    distractor.

    Source: Kotseruba, Wloka, Rasouli and Tsotsos, "Do saliency models detect odd-one-out targets?", BMVC 2019,
    as their published code computes it (GSI after Soltani and Koch 2010). There maps are 8-bit pictures and so
    begin near 0, which the scaling to [0, 1] stands for; where a denominator is 0 their code gives −1, which
    is kept for GSI, the worst there is, but a ratio is left out (NaN) instead. Not verified: what their tables
    make of the −1, their dilation of the masks (none here), and the scores on their data. Their demonstration
    searches with a circle around the target in place of its mask.

    Args:
        pred: [B, h, w] on any grid and scale.
        targets: B masks [H, W], positive on the odd item.
        distractors: B masks [H, W] of the same size, positive on the other items.
        limit: number of fixations after which the target counts as not found.

    Returns:
        float64 [B, 5], in the order of `COLUMNS`, on the CPU; 1, 1 and 0 in the first three for a constant map;
        NaN throughout for an image without target or distractors or whose map is not finite.

    Raises:
        ValueError: A shape does not fit, or the limit is below 1.

    Example:
        >>> pred = torch.tensor([[[4.0, 2.0, 1.0, 0.0]]])
        >>> popout(pred, [torch.tensor([[1, 0, 0, 0]])], [torch.tensor([[0, 1, 0, 0]])])
        tensor([[2.0000, 0.2500, 0.3333, 1.0000, 1.0000]], dtype=torch.float64)
    """
    maps = check_heatmaps(pred)
    check_count(targets, maps, "targets")
    check_count(distractors, maps, "distractors")
    rows = [
        _row(image, *_masks(target, others, index), limit)
        for index, (image, target, others) in enumerate(zip(maps, targets, distractors, strict=True))
    ]
    return torch.stack(rows) if rows else torch.empty(0, len(COLUMNS), dtype=torch.float64)


def _masks(target: Tensor, distractors: Tensor, image: int) -> tuple[Tensor, Tensor]:
    one, others = bool_mask(target, image), bool_mask(distractors, image)
    if one is None or others is None or one.shape != others.shape:
        raise InvalidValueError(
            f"target and distractors of image {image} have shapes {getattr(target, 'shape', None)} and "
            f"{getattr(distractors, 'shape', None)}; expected the same [H, W]"
        )
    return one, others


def _row(image: Tensor, target: Tensor, distractors: Tensor, limit: int) -> Tensor:
    saliency = normalized(image[None], (target.shape[0], target.shape[1]))[0]
    if not (target.any() and distractors.any()) or saliency[0, 0].isnan():
        return torch.full((len(COLUMNS),), torch.nan, dtype=torch.float64)
    fixations, found = fixations_to_find(saliency, target, item_side(distractors), limit)
    if not saliency.any():
        return torch.tensor([1, 1, 0, fixations, found], dtype=torch.float64)
    background = saliency[~(target | distractors)]
    on_target, on_others = saliency[target], saliency[distractors]
    total = on_target.mean() + on_others.mean()
    return torch.stack(
        [
            _ratio(on_target.max(), on_others.max()),
            _ratio(background.max(), on_target.max()) if len(background) else total.new_tensor(torch.nan),
            (on_target.mean() - on_others.mean()) / total if total > 0 else total.new_tensor(-1),
            total.new_tensor(fixations),
            total.new_tensor(found),
        ]
    )


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return numerator / denominator if denominator > 0 else denominator.new_tensor(torch.nan)
