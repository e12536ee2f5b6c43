"""Whether a heatmap shows what the model used."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.heatmaps import constant_heatmaps
from salvit.metrics.functional.removal import (
    BATCH_SIZE,
    LEAST,
    MOST,
    Fill,
    Removals,
    Span,
    remover,
    scored_rows,
    target_probabilities,
)
from salvit.vit import ViT

FRACTIONS = tuple(step / 10 for step in range(11))
"""0, 0.1 … 1: the AG-CAM paper's."""


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

    where the first k pixels in the order of the heatmap, equal ones in reading order, are replaced. Both curves share
    their ends: eleven fractions cost 20 forward passes per image. Sources: Samek et al., "Evaluating the visualization
    of what a deep neural network has learned", IEEE TNNLS 2017; Leem and Seo, "Attention Guided CAM", AAAI 2024, whose
    protocol is the default.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the size of the images (bilinear). Only their order matters.
        target: a class index, or int64 [B].
        fractions: F shares of pixels to remove, in [0, 1].
        fill: what removed pixels become; "zero" is 0 in the normalised image, "linear" the imputation of ROAD.
        reference: Whether to take equal pixels in the order of `torch.topk`, for each fraction anew, as the authors'
            script does: the order then depends on the device, and a removed pixel may be back at the next fraction.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: seed of the noise fill.

    Returns:
        LeRF and MoRF, both [B, F] in [0, 1]; NaN for an image whose heatmap is not finite, equal for a constant one.

    Raises:
        TypeError: The model is not a plain timm ViT, or the images are not floats.
        ValueError: A shape, dtype or device is wrong, a target is not a class of the model, a fraction is out of range,
            or there is no such fill.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> lerf, morf = perturbation_curves(vit, torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2), target=7)
        >>> lerf.shape, bool((lerf[:, [0, -1]] == morf[:, [0, -1]]).all())
        (torch.Size([2, 11]), True)
    """
    removals = Removals(vit, images, heatmaps, target, seed)
    return perturbation_curves_of(removals, fractions, fill, reference, batch_size)


def perturbation_curves_of(
    removals: Removals, fractions: Sequence[float], fill: Fill, reference: bool, batch_size: int
) -> tuple[Tensor, Tensor]:
    """As `perturbation_curves`, with the forward passes that other scores have made."""
    pixels = removals.pixels
    counts = removed_counts(fractions, pixels)
    lerf, morf = ([_step(order, k, pixels) for k in counts] for order in (LEAST, MOST))
    steps = list(dict.fromkeys([*lerf, *morf]))
    if reference:
        found = _as_the_script(removals, fill, steps, batch_size)
    else:
        found = removals.probabilities(fill, steps, batch_size)
    least, most = (found[:, [steps.index(step) for step in curve]] for curve in (lerf, morf))
    # Equal removals score equal: the last digits depend on the layout of the batch.
    most = torch.where(constant_heatmaps(removals.maps)[:, None], least, most)
    return scored_rows(least, removals.scored), scored_rows(most, removals.scored)


def removed_counts(fractions: Sequence[float], pixels: int) -> list[int]:
    """Number of pixels to remove at each fraction, rounded down.

    Raises:
        ValueError: There is no fraction, or one is not in [0, 1].

    Example:
        >>> removed_counts((0.0, 0.7, 1.0), 90)  # 0.7 · 90 is 62.99… in floating point
        [0, 63, 90]
    """
    if not fractions or not all(0 <= fraction <= 1 for fraction in fractions):
        raise InvalidValueError(f"fractions are {tuple(fractions)}; expected at least one, all in [0, 1]")
    return [int(round(fraction * pixels, 6)) for fraction in fractions]


def _step(order: int, count: int, pixels: int) -> Span:
    """Removal of the first pixels of an order; of none or all of them, the same for both orders."""
    return Span(LEAST if count in (0, pixels) else order, 0, count)


def _as_the_script(removals: Removals, fill: Fill, steps: Sequence[Span], batch_size: int) -> Tensor:
    """Probabilities [n, S] after removals that take equal pixels in the order of `torch.topk`."""
    alter = remover(removals.images, fill, removals.seed)
    orders, spans = _topk_orders(removals.maps, steps), [Span(index, 0, 1) for index in range(len(steps))]
    return target_probabilities(
        removals.vit, removals.images, alter, orders, spans, removals.classes, batch_size
    )


def _topk_orders(maps: Tensor, steps: Sequence[Span]) -> Tensor:
    """For each step an order [B, S, N] in which the pixels that `torch.topk` selects are 0, the others 1."""
    orders = torch.ones(len(maps), len(steps), maps.shape[1], dtype=torch.uint8, device=maps.device)
    for index, step in enumerate(steps):
        # One image at a time, as the script does: which of equal pixels are selected depends on it.
        for row, selected in zip(maps, orders[:, index], strict=True):
            selected[row.topk(step.high, largest=step.order == MOST).indices] = 0
    return orders


def deletion_insertion(
    vit: ViT,
    images: Tensor,
    heatmaps: Tensor,
    target: int | Tensor,
    fractions: Sequence[float] = FRACTIONS,
    *,
    deleted: Fill = "zero",
    inserted_into: Fill = "blur",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Probability of the target as the most relevant pixels are deleted, and as they are inserted.

    Insertion starts from the blurred image and puts the pixels back, the most relevant first. Source: Petsiuk, Das and
    Saenko, "RISE", BMVC 2018, whose public evaluator takes 224 pixels per step: `fractions=[k / 224 for k in
    range(225)]` for 224 × 224 pixels.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; only their order matters, equal pixels are taken in reading order.
        target: a class index, or int64 [B].
        fractions: F shares of pixels, in [0, 1]; they cost 2 F − 1 forward passes per image.
        deleted: what deleted pixels become; see `salvit.metrics.functional.removal.remover`.
        inserted_into: fill of the image before pixels are inserted.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: seed of the noise fill.

    Returns:
        Deletion and insertion curve, both [B, F] in [0, 1]; NaN for an image whose heatmap is not finite.

    Raises:
        TypeError, ValueError: As `perturbation_curves`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> images, heatmaps = torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2)
        >>> deletion, insertion = deletion_insertion(vit, images, heatmaps, target=7)
        >>> bool(torch.isclose(deletion[:, 0], insertion[:, -1]).all())  # the image as it is
        True
    """
    removals = Removals(vit, images, heatmaps, target, seed)
    return deletion_insertion_of(removals, fractions, deleted, inserted_into, batch_size)


def deletion_insertion_of(
    removals: Removals, fractions: Sequence[float], deleted: Fill, inserted_into: Fill, batch_size: int
) -> tuple[Tensor, Tensor]:
    """As `deletion_insertion`, with the forward passes that other scores have made."""
    counts = removed_counts(fractions, removals.pixels)
    deletion = removals.probabilities(deleted, [Span(MOST, 0, count) for count in counts], batch_size)
    # What has not been inserted yet is what is removed.
    spans = [Span(MOST, count, removals.pixels) for count in counts]
    insertion = removals.probabilities(inserted_into, spans, batch_size)
    return scored_rows(deletion, removals.scored), scored_rows(insertion, removals.scored)


def group_effects(
    vit: ViT,
    images: Tensor,
    heatmaps: Tensor,
    target: int | Tensor,
    groups: int = 10,
    *,
    fill: Fill = "mean",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Salience of groups of pixels, and how much the probability of the target drops without each group.

    The pixels in descending order of the heatmap, equal ones in reading order, are cut into K groups of equal size;
    each group alone is replaced. Costs K + 1 forward passes per image. Source: see `saco`.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the size of the images (bilinear).
        target: a class index, or int64 [B]; the source takes the predicted class.
        groups: K ≥ 2, at most the number of pixels.
        fill: what removed pixels become; the source takes the mean of the image.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: seed of the noise fill.

    Returns:
        Salience, the sum of the values of a group, and drop of the probability, both float64 [B, K], the most salient
        group first; NaN for an image whose heatmap is not finite, and salience 0 for a constant one.

    Raises:
        TypeError, ValueError: As `perturbation_curves`, or there are too few or too many groups.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> salience, drops = group_effects(vit, torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2), target=7)
        >>> salience.shape, drops.shape
        (torch.Size([2, 10]), torch.Size([2, 10]))
    """
    return group_effects_of(Removals(vit, images, heatmaps, target, seed), groups, fill, batch_size)


def group_effects_of(
    removals: Removals, groups: int, fill: Fill, batch_size: int = BATCH_SIZE
) -> tuple[Tensor, Tensor]:
    """As `group_effects`, with the forward passes that other scores have made."""
    pixels = removals.pixels
    if not 2 <= groups <= pixels:
        raise InvalidValueError(f"groups is {groups}; expected 2 … {pixels}, the number of pixels")
    bounds = list(pairwise(group * pixels // groups for group in range(groups + 1)))
    spans = [Span(MOST, 0, 0), *(Span(MOST, low, high) for low, high in bounds)]
    found = removals.probabilities(fill, spans, batch_size).cpu().double()
    salience, scored = _group_sums(removals.maps.cpu().double(), bounds), removals.scored.cpu()
    return scored_rows(salience, scored), scored_rows(found[:, :1] - found[:, 1:], scored)


def _group_sums(maps: Tensor, bounds: list[tuple[int, int]]) -> Tensor:
    """Sums [B, K] of the values in descending order between the bounds; 0 for a constant map.

    Groups differ in size by one pixel where K does not divide the number of pixels, so that the sums of a
    constant map would not be equal.
    """
    values = maps.sort(dim=1, descending=True).values
    sums = torch.stack([values[:, low:high].sum(1) for low, high in bounds], 1)
    return torch.where(constant_heatmaps(maps)[:, None], 0.0, sums)


def saco(salience: Tensor, drops: Tensor) -> Tensor:
    r"""Salience-guided faithfulness coefficient of each image.

    .. math:: F = \frac{\sum_{i<j} w_{ij}}{\sum_{i<j} |w_{ij}|},\quad
        w_{ij} = \begin{cases} s_i - s_j & \text{if } d_i \ge d_j \\ s_j - s_i & \text{else} \end{cases}

    where removing the more salient group i should cost the model more confidence than removing group j. Source: Wu et
    al., "On the Faithfulness of Vision Transformer Explanations", CVPR 2024, and its public code.

    Args:
        salience: [B, K] of the groups, most salient first.
        drops: [B, K] of the probability of the target without each group.

    Returns:
        float64 [B] in [−1, 1]; NaN where all groups are equally salient or a number is NaN.

    Raises:
        ValueError: The shapes are not the same [B, K].

    Example:
        >>> saco(torch.tensor([[3.0, 2.0, 0.0]]), torch.tensor([[0.5, 0.1, 0.2]]))  # 1 + 3 − 2 of 6
        tensor([0.3333], dtype=torch.float64)
    """
    if salience.ndim != 2 or salience.shape != drops.shape:
        raise InvalidValueError(
            f"salience has shape {tuple(salience.shape)} and drops {tuple(drops.shape)}; expected the same "
            "[B, K], as group_effects returns"
        )
    s, d = salience.detach().double(), drops.detach().double()
    first, second = torch.triu_indices(s.shape[1], s.shape[1], offset=1, device=s.device)
    weights = (s[:, first] - s[:, second]) * torch.where(d[:, first] >= d[:, second], 1.0, -1.0)
    coefficient = weights.sum(1) / weights.abs().sum(1)
    return torch.where(d.isnan().any(1), torch.nan, coefficient)


def max_sensitivity(
    explain: Callable[[Tensor], Tensor],
    images: Tensor,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
) -> Tensor:
    r"""Largest relative change of an explanation within a small box around the image, by random search.

    .. math:: \max_{\|\delta\|_\infty \le r} \frac{\|\Phi(x + \delta) - \Phi(x)\|_2}{\|\Phi(x)\|_2}

    over uniformly drawn δ, the same for all images. It is a lower bound that grows with the number of samples: compare
    only scores of as many. Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019;
    radius and number of samples are Captum's defaults.

    Args:
        explain: function from images [B, 3, H, W] to maps [B, ...]; called samples + 1 times. Let it explain one given
            class: the predicted one may change with the image.
        images: [B, 3, H, W], as `explain` takes them.
        radius: r > 0, in the units of the images.
        samples: number of δ drawn, at least 1.
        seed: seed of the draws.

    Returns:
        float64 [B], ≥ 0; NaN for an image whose map is 0 everywhere, or where a map is not finite.

    Raises:
        ValueError: The radius or the number of samples is out of range.

    Example:
        >>> max_sensitivity(lambda x: torch.ones(len(x), 2, 2), torch.ones(1, 3, 4, 4))
        tensor([0.], dtype=torch.float64)
    """
    if not radius > 0 or samples < 1:
        raise InvalidValueError(
            f"radius is {radius} and samples {samples}; expected radius > 0 and samples ≥ 1"
        )
    generator = torch.Generator().manual_seed(seed)
    original = _flat(explain(images))
    changes = []
    for _ in range(samples):
        delta = (2 * torch.rand(images.shape[1:], generator=generator) - 1) * radius
        moved = images + delta.to(images.device, images.dtype)
        changes.append((_flat(explain(moved)) - original).norm(dim=1))
    # amax keeps NaN; a norm of 0 gives 0/0 or x/0, which are not finite.
    relative = torch.stack(changes).amax(0) / original.norm(dim=1)
    return torch.where(relative.isfinite(), relative, torch.nan)


def _flat(maps: Tensor) -> Tensor:
    return maps.detach().cpu().double().flatten(1)
