"""Kullback–Leibler divergence."""

from torch import Tensor

from salvit.metrics.functional.maps import EPS, check_map_pair, sum_normalize


def kld(pred: Tensor, density: Tensor) -> Tensor:
    r"""Kullback–Leibler divergence of the ground-truth density from the prediction, for each image, in nats.

    .. math:: \mathrm{KLD} = \sum_i g_i \ln\left(\varepsilon + \frac{g_i}{p_i + \varepsilon}\right)

    with both maps divided by their sums and ε = 2.2204e-16. A map that goes below 0 is shifted to ≥ 0 first;
    an all-zero map is the uniform distribution. Source: Eq. 2 of the paper on vision transformers as saliency
    learners; the same as the MIT benchmark's MATLAB code. Computed in float64, whatever comes in: an ε that
    float32 could hold (1e-7) moves the score by 13 % on a 480×640 map.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] ground truth.

    Returns:
        float64 [B]; 0 for equal distributions (−ε up to rounding), at most about 36.

    Raises:
        ValueError: The shapes differ or are not [B, H, W], or a map is not finite.

    Example:
        >>> import torch
        >>> kld(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]]))
        tensor([0.1438], dtype=torch.float64)
    """
    p, g = (sum_normalize(maps) for maps in check_map_pair(pred, density))
    return (g * (EPS + g / (p + EPS)).log()).sum(1)
