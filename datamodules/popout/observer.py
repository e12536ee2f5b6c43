"""The simulated observer: a stated model of fixations on a pop-out display."""

import numpy as np
import torch
from torch import Tensor

from datamodules.popout.scene import UNIT, Scenes

TARGET, DISTRACTORS, CENTRE, ANYWHERE = 0.55, 0.22, 0.15, 0.08


def observer_density(scenes: Scenes) -> Tensor:
    """Density of the simulated observer's fixations, a mixture of four parts: float32 [B, H, W], each map sums to 1.

    55 % lie on the target and 22 % on the distractors in equal shares (Gaussians whose σ is 0.6 of the item's radius
    plus 1 px of a 64-pixel display), 15 % follow the center bias (a Gaussian whose σ is a quarter of each side), and
    8 % are uniform. The weights are chosen, not measured.
    """
    height, width = scenes.size
    present = torch.from_numpy(scenes.present)
    sigma = 0.6 * torch.from_numpy(scenes.radius) + min(scenes.size) / UNIT
    weight = present * DISTRACTORS / (present.sum(1, keepdim=True) - 1)
    weight[:, 0] = TARGET
    x, y = torch.from_numpy(scenes.centre).unbind(-1)
    items = _gaussians(weight, y, x, sigma, sigma, scenes.size)
    one = torch.ones(1, 1)
    y, x = one * (height - 1) / 2, one * (width - 1) / 2
    bias = _gaussians(CENTRE * one, y, x, one * height / 4, one * width / 4, scenes.size)
    density = items + bias + ANYWHERE / (height * width)
    return density / density.sum(dim=(1, 2), keepdim=True)


def _gaussians(
    weight: Tensor, y: Tensor, x: Tensor, sigma_y: Tensor, sigma_x: Tensor, size: tuple[int, int]
) -> Tensor:
    """Weighted sum over M of separable Gaussians, each normalised on the pixel grid: [B, H, W]."""

    def profile(centre: Tensor, sigma: Tensor, length: int) -> Tensor:
        steps = torch.arange(length, dtype=torch.float32)
        bell = torch.exp(-0.5 * ((steps - centre[..., None]) / sigma[..., None]) ** 2)
        return bell / bell.sum(-1, keepdim=True)

    rows = profile(y, sigma_y, size[0]) * weight[..., None]
    return torch.einsum("bmh,bmw->bhw", rows, profile(x, sigma_x, size[1]))


def draw_fixations(density: Tensor, draws: np.ndarray) -> list[Tensor]:
    """Draw fixations from densities [B, H, W], each of sum 1, by inverting their cumulative sums.

    ``draws`` are uniform numbers [B, F] in [0, 1). Returns B tensors float32 [F, 2] of whole (x, y) in pixels.
    """
    width = density.shape[-1]
    cumulative = density.flatten(1).double().cumsum(1)
    uniform = torch.from_numpy(draws).double() * cumulative[:, -1:]
    flat = torch.searchsorted(cumulative, uniform, right=True).clamp_max(cumulative.shape[1] - 1)
    return list(torch.stack([flat % width, flat // width], dim=-1).float())
