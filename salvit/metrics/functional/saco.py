"""Salience-guided faithfulness coefficient."""

from itertools import pairwise

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
    """Salience of groups of pixels, and how much the target's probability drops without each group.

    The pixels in descending order of the heatmap, equal ones in reading order, are cut into groups of equal
    size, those of rank i · HW/K up to (i + 1) · HW/K; each group alone is replaced. Costs K + 1 forward
    passes per image. Source: see `saco`.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the images' size (bilinear).
        target: a class index, or int64 [B]; the source takes the predicted class.
        groups: K ≥ 2, at most the number of pixels.
        fill: what removed pixels become; the source takes the mean of the image. See `filled`.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: of the noise fill.

    Returns:
        Salience, the sum of a group's values, and drop of the probability, both float64 [B, K], the most
        salient group first; NaN for an image whose heatmap is not finite, and salience 0 for a constant one.

    Raises:
        TypeError: if the model is not a plain timm ViT, or the images are not floats.
        ValueError: if a shape, dtype or device does not fit, a target is no class of the model, there are too
            few or too many groups, or there is no such fill.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> salience, drops = group_effects(vit, torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2), target=7)
        >>> salience.shape, drops.shape
        (torch.Size([2, 10]), torch.Size([2, 10]))
    """
    maps, classes = check_perturbation(vit, images, heatmaps, target)
    pixels = maps.shape[1]
    if not 2 <= groups <= pixels:
        raise InvalidValueError(f"groups is {groups}; expected 2 … {pixels}, the number of pixels")
    scored = finite_heatmaps(maps[:, None])
    images, maps, classes = images[scored], maps[scored], classes[scored]
    bounds = list(pairwise(group * pixels // groups for group in range(groups + 1)))
    spans = [Span(0, 0, 0), *(Span(0, low, high) for low, high in bounds)]
    order, fills = ranks(maps, descending=True)[:, None], filled(images, fill, seed)
    found = target_probabilities(vit, images, fills, order, spans, classes, batch_size).cpu().double()
    salience = _group_sums(maps.cpu().double(), bounds)
    return scored_rows(salience, scored.cpu()), scored_rows(found[:, :1] - found[:, 1:], scored.cpu())


def _group_sums(maps: Tensor, bounds: list[tuple[int, int]]) -> Tensor:
    """Sums [B, K] of the values in descending order between the bounds; 0 for a constant map.

    Groups differ in size by one pixel where K does not divide the number of pixels, so that the sums of a
    constant map would not be equal.
    """
    values = maps.sort(dim=1, descending=True).values
    sums = torch.stack([values[:, low:high].sum(1) for low, high in bounds], 1)
    return torch.where(constant_heatmaps(maps[:, None])[:, None], 0.0, sums)


def saco(salience: Tensor, drops: Tensor) -> Tensor:
    r"""Salience-guided faithfulness coefficient of each image.

    .. math:: F = \frac{\sum_{i<j} w_{ij}}{\sum_{i<j} |w_{ij}|},\quad
        w_{ij} = \begin{cases} s_i - s_j & \text{if } d_i \ge d_j \\ s_j - s_i & \text{else} \end{cases}

    where the more salient group i should, once removed, cost the model more confidence than group j. Source:
    Wu et al., "On the Faithfulness of Vision Transformer Explanations", CVPR 2024, and its public code.

    Args:
        salience: [B, K] of the groups, most salient first.
        drops: [B, K] of the target's probability without each group.

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
