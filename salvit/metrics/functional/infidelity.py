"""Does the sum of a heatmap over a square predict how much the class's probability drops without the square?"""

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.removal import (
    BATCH_SIZE,
    MOST,
    Fill,
    Removals,
    Span,
    remover,
    scored_rows,
    target_probabilities,
)
from salvit.vit import ViT

_SIDES = (0.1, 0.5)
"""Smallest and largest side of a square, as a share of the image's shorter side."""


def square_effects(
    vit: ViT,
    images: Tensor,
    heatmaps: Tensor,
    target: int | Tensor,
    squares: int = 50,
    *,
    fill: Fill = "zero",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Sums of a heatmap over random squares, and how much the probability of the target drops without each square.

    The sides are drawn uniformly from a tenth to half of the image's shorter side, the places uniformly; they are the
    same for all images. Costs K + 1 forward passes per image.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        heatmaps: [B, h, w]; brought to the size of the images (bilinear).
        target: a class index, or int64 [B].
        squares: K ≥ 1.
        fill: what removed pixels become.
        batch_size: perturbed images per forward pass, which bounds the memory.
        seed: seed of the squares, and of the noise in a fill.

    Returns:
        Sums and drops, both float64 [B, K] on the CPU; NaN for an image whose heatmap is not finite.

    Raises:
        TypeError, ValueError: As `perturbation_curves`, or there is no square.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> sums, drops = square_effects(vit, torch.rand(2, 3, 32, 32), torch.rand(2, 2, 2), target=7, squares=5)
        >>> sums.shape, drops.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """
    removals = Removals(vit, images, heatmaps, target, seed)
    return square_effects_of(removals, squares, fill, batch_size, seed)


def square_effects_of(
    removals: Removals, squares: int, fill: Fill, batch_size: int, seed: int
) -> tuple[Tensor, Tensor]:
    """As `square_effects`, with the forward passes that other scores have made."""
    if squares < 1:
        raise InvalidValueError(f"squares is {squares}; expected at least 1")
    size = (removals.images.shape[2], removals.images.shape[3])
    inside = random_squares(squares, size, seed).flatten(1).to(removals.images.device)
    # An order per square: its pixels are 0, the others 1.
    orders = (~inside).to(torch.uint8).expand(len(removals.images), -1, -1)
    without = target_probabilities(
        removals.vit,
        removals.images,
        remover(removals.images, fill, removals.seed),
        orders,
        [Span(square, 0, 1) for square in range(squares)],
        removals.classes,
        batch_size,
    )
    whole = removals.probabilities(fill, [Span(MOST, 0, 0)], batch_size)
    sums = removals.maps.cpu().double() @ inside.cpu().double().T
    scored = removals.scored.cpu()
    return scored_rows(sums, scored), scored_rows((whole - without).cpu().double(), scored)


def random_squares(count: int, size: Size, seed: int = 0) -> Tensor:
    """Masks of random squares: bool [count, H, W], true inside."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    sides = ((_SIDES[0] + (_SIDES[1] - _SIDES[0]) * draws[:, 0]) * min(size)).round().clamp(min=1)
    masks = []
    for axis, length in enumerate(size):
        # Places from 0 to length − side, all equally likely.
        low = (draws[:, axis + 1] * (length - sides + 1)).floor()
        index = torch.arange(length)
        masks.append((index >= low[:, None]) & (index < (low + sides)[:, None]))
    return masks[0][:, :, None] & masks[1][:, None, :]


def infidelity(sums: Tensor, drops: Tensor, scaled: bool = True) -> Tensor:
    r"""Mean squared difference of the drop that the heatmap predicts for a removal and the real drop, per image.

    .. math:: \frac{1}{K} \sum_{k=1}^{K} (\beta s_k - d_k)^2,\quad
        \beta = \frac{\sum_k s_k d_k}{\sum_k s_k^2}

    with the sum s of the heatmap over the removed pixels and the drop d of the probability. The factor β makes
    heatmaps of any scale, and of either sign, comparable. Source: Yeh et al., "On the (In)fidelity and Sensitivity of
    Explanations", NeurIPS 2019, for removed squares and heatmaps that are contributions, not gradients; β is captum's
    `normalize`.

    Args:
        sums: [B, K] of the heatmap over removed pixels.
        drops: [B, K] of the probability of the target without them.
        scaled: Whether β is as above; otherwise 1.

    Returns:
        float64 [B], ≥ 0, in squared probabilities; NaN where a number is NaN. With β, a heatmap of zeros has the mean
        of d², the largest value that an image can have.

    Raises:
        ValueError: The shapes are not the same [B, K].

    Example:
        >>> infidelity(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.1, 0.2]]))
        tensor([0.], dtype=torch.float64)
    """
    if sums.ndim != 2 or sums.shape != drops.shape:
        raise InvalidValueError(
            f"sums have shape {tuple(sums.shape)} and drops {tuple(drops.shape)}; expected the same [B, K], as "
            "square_effects returns"
        )
    s, d = sums.detach().double(), drops.detach().double()
    if scaled:
        length = s.square().sum(1, keepdim=True)
        s = s * torch.where(length > 0, (s * d).sum(1, keepdim=True) / length, 0.0)
    return torch.where(s.isnan().any(1), torch.nan, (s - d).square().mean(1))
