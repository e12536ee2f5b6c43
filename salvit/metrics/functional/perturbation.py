"""Perturbation curves: the target's probability as the least or most relevant pixels go."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fills import Fill, filled
from salvit.metrics.functional.heatmaps import constant_heatmaps, finite_heatmaps
from salvit.metrics.functional.removal import (
    BATCH_SIZE,
    Span,
    check_perturbation,
    ranks,
    scored_rows,
    target_probabilities,
)
from salvit.vit import ViT

FRACTIONS = tuple(step / 10 for step in range(11))
"""0, 0.1 … 1: the AG-CAM paper's."""
_LEAST, _MOST = 0, 1
"""The two orders: least and most relevant pixel first."""


def perturbation_curves(
    vit: ViT,
    images: Tensor,
    heatmaps: Tensor,
    target: int | Tensor,
    fractions: Sequence[float] = FRACTIONS,
    *,
    fill: Fill = "zero",
    reference: bool = False,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    r"""Probability of the target as the least (LeRF) and as the most relevant pixels (MoRF) are removed first.

    .. math:: p(\phi) = \mathrm{softmax}(f(x_{\setminus k}))_{\mathrm{target}},\; k = \lfloor \phi H W \rfloor

    where of an image x the k first pixels in the heatmap's order, equal ones in reading order, are replaced. The ends
    are shared by both curves, so eleven fractions cost 20 forward passes per image, and nothing else but two
    sorts. Sources: Samek et al., "Evaluating the visualization of what a deep neural network has learned",
    IEEE TNNLS 2017; Leem and Seo, "Attention Guided CAM", AAAI 2024, whose protocol are the defaults.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the images' size (bilinear). Only their order matters.
        target: a class index, or int64 [B].
        fractions: F shares of pixels to remove, in [0, 1].
        fill: what removed pixels become; "zero" is 0 in the normalised image. See `filled`.
        reference: Whether equal pixels fall as `torch.topk` has it, for each fraction anew, as in the
            authors' script: which of them go is then up to the device, and a pixel removed at one fraction
            may be back at the next.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: of the noise fill.

    Returns:
        LeRF and MoRF, both [B, F] in [0, 1]; NaN for an image whose heatmap is not finite, and equal for a
        constant heatmap.

    Raises:
        TypeError: if the model is not a plain timm ViT, or the images are not floats.
        ValueError: if a shape, dtype or device does not fit, a target is no class of the model, a fraction is
            out of range, or there is no such fill.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> lerf, morf = perturbation_curves(vit, torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2), target=7)
        >>> lerf.shape, bool((lerf[:, [0, -1]] == morf[:, [0, -1]]).all())
        (torch.Size([2, 11]), True)
    """
    maps, classes = check_perturbation(vit, images, heatmaps, target)
    scored = finite_heatmaps(maps[:, None])
    images, maps, classes = images[scored], maps[scored], classes[scored]
    counts = removed_counts(fractions, maps.shape[1])
    lerf, morf = ([_step(order, k, maps.shape[1]) for k in counts] for order in (_LEAST, _MOST))
    steps = list(dict.fromkeys([*lerf, *morf]))
    if reference:
        orders, spans = _topk_orders(maps, steps), [Span(index, 0, 1) for index in range(len(steps))]
    else:
        orders, spans = torch.stack([ranks(maps, False), ranks(maps, True)], 1), steps
    fills = filled(images, fill, seed)
    found = target_probabilities(vit, images, fills, orders, spans, classes, batch_size)
    least, most = (found[:, [steps.index(step) for step in curve]] for curve in (lerf, morf))
    # A batch's layout shows in the last digits: equal removals are to score equal.
    most = torch.where(constant_heatmaps(maps[:, None])[:, None], least, most)
    return scored_rows(least, scored), scored_rows(most, scored)


def removed_counts(fractions: Sequence[float], pixels: int) -> list[int]:
    """Number of pixels to remove at each fraction, rounded down.

    Args:
        fractions: in [0, 1].
        pixels: of an image.

    Returns:
        One count per fraction.

    Raises:
        ValueError: There is no fraction, or one is out of range.

    Example:
        >>> removed_counts((0.0, 0.7, 1.0), 90)  # 0.7 · 90 is 62.99… in floating point
        [0, 63, 90]
    """
    if not fractions or not all(0 <= fraction <= 1 for fraction in fractions):
        raise InvalidValueError(f"fractions are {tuple(fractions)}; expected at least one, all in [0, 1]")
    return [int(round(fraction * pixels, 6)) for fraction in fractions]


def _step(order: int, count: int, pixels: int) -> Span:
    """Removal of the first pixels of an order; of none or all of them, the same for both orders."""
    return Span(_LEAST if count in (0, pixels) else order, 0, count)


def _topk_orders(maps: Tensor, steps: Sequence[Span]) -> Tensor:
    """For each step an order [B, S, N] in which the pixels that `torch.topk` selects are 0, the others 1."""
    orders = torch.ones(len(maps), len(steps), maps.shape[1], dtype=torch.uint8, device=maps.device)
    for index, step in enumerate(steps):
        # One image at a time, as the script does: which of equal pixels are selected depends on it.
        for row, selected in zip(maps, orders[:, index], strict=True):
            selected[row.topk(step.high, largest=step.order == _MOST).indices] = 0
    return orders
