"""How concentrated a heatmap is, whatever it shows."""

import torch
from torch import Tensor

from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import check_heatmaps, finite_heatmaps, upsampled


def sparseness(heatmaps: Tensor, size: Size) -> Tensor:
    r"""Gini index of the absolute values of a heatmap.

    .. math:: G = \frac{\sum_{i=1}^{n} (2 i - n - 1)\, |S|_{(i)}}{n \sum_i |S|_i}

    with the values in ascending order, after the heatmap is brought to the size of the input (bilinear), so that
    heatmaps of different grids compare. Source: Chalasani et al., "Concise Explanations of Neural Networks using
    Adversarial Training", ICML 2020.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        size: (H, W) of the input in pixels.

    Returns:
        float64 [B] in [0, 1), on the CPU: 0 if all values are equal, 1 − 1/n if all but one are 0; NaN for a heatmap
        that is 0 everywhere or not finite.

    Raises:
        ValueError: The heatmaps are not [B, h, w].

    Example:
        >>> sparseness(torch.tensor([[[0.0, 0.0, 0.0, 2.0]], [[1.0, 1.0, 1.0, 1.0]]]), (1, 4))
        tensor([0.7500, 0.0000], dtype=torch.float64)
    """
    shares = _shares(heatmaps, size)
    n = shares.shape[1]
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return (shares.sort(dim=1).values * weights).sum(1) / n


def complexity(heatmaps: Tensor, size: Size) -> Tensor:
    r"""Entropy of the absolute values of a heatmap as shares of their sum, in nats.

    .. math:: H = -\sum_i p_i \ln p_i,\quad p_i = \frac{|S|_i}{\sum_j |S|_j}

    after the heatmap is brought to the size of the input (bilinear). Source: Bhatt, Weller and Moura, "Evaluating and
    Aggregating Feature-based Model Explanations", IJCAI 2020.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        size: (H, W) of the input in pixels.

    Returns:
        float64 [B] in [0, ln(H·W)], on the CPU; NaN for a heatmap that is 0 everywhere or not finite.

    Raises:
        ValueError: The heatmaps are not [B, h, w].

    Example:
        >>> complexity(torch.tensor([[[0.0, 1.0, 1.0, 0.0]]]), (1, 4))
        tensor([0.6931], dtype=torch.float64)
    """
    shares = _shares(heatmaps, size)
    return -torch.special.xlogy(shares, shares).sum(1)


def _shares(heatmaps: Tensor, size: Size) -> Tensor:
    """Absolute values as shares of their sum, float64 [B, H·W]; NaN for a map of zeros or that is not finite."""
    maps = upsampled(check_heatmaps(heatmaps).cpu().double(), size).flatten(1).abs()
    maps = torch.where(finite_heatmaps(maps)[:, None], maps, torch.nan)
    # First divided by the peak: the sum of very large values would overflow.
    maps = maps / maps.amax(1, keepdim=True)
    return maps / maps.sum(1, keepdim=True)
