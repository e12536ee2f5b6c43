"""A saliency map against the density or the fixations of its image."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError, MissingExtraError
from salvit.metrics.functional.fixations import Size, maps_and_indices
from salvit.metrics.functional.maps import EPS, check_map_pair, check_maps, minmax_normalize, sum_normalize
from salvit.resize import resize_antialiased

FACTOR = 32
"""Factor by which the MIT benchmark makes maps smaller first."""


def cc(pred: Tensor, density: Tensor) -> Tensor:
    r"""Pearson correlation of prediction and density over the pixels of each image.

    .. math:: \mathrm{CC} = \frac{\mathrm{cov}(S, G)}{\mathrm{std}(S)\,\mathrm{std}(G)}

    Source: Bylinskii et al., "What do different evaluation metrics tell us about saliency models?", TPAMI 2019.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] on any scale.

    Returns:
        float64 [B] in [−1, 1]; 0 where either map is constant.

    Raises:
        ValueError: The shapes differ or are not [B, H, W], or a map is not finite.

    Example:
        >>> cc(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])).round(decimals=4)
        tensor([-0.8660], dtype=torch.float64)
    """
    scaled = (minmax_normalize(maps) for maps in check_map_pair(pred, density))
    s, g = (maps - maps.mean(1, keepdim=True) for maps in scaled)
    product = s.norm(dim=1) * g.norm(dim=1)
    correlation = (s * g).sum(1) / torch.where(product > 0, product, 1)
    return correlation.clamp(-1, 1)


def nss(pred: Tensor, fixations: Sequence[Tensor], duplicates: bool = True, ddof: int = 1) -> Tensor:
    r"""Normalized scanpath saliency of each image: the prediction at the fixations, in standard deviations.

    .. math:: \mathrm{NSS} = \frac{1}{n} \sum_{i=1}^{n} \frac{S(x_i, y_i) - \bar S}{\mathrm{std}(S)}

    Source: Peters et al., "Components of bottom-up gaze allocation in natural images", Vision Research 2005.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        duplicates: Whether a pixel fixated k times counts k times; False scores the binary fixation map (MIT).
        ddof: 1 for the standard deviation of the sample (MIT), 0 for the population (pysaliency).

    Returns:
        float64 [B]; 0 for a constant map, NaN for an image without fixations.

    Raises:
        ValueError: A shape is wrong, a map is not finite, or a fixation lies outside its map.

    Example:
        >>> nss(torch.tensor([[[0.0, 1.0, 2.0]]]), [torch.tensor([[2.0, 0.0], [1.0, 0.0]])])
        tensor([0.5000], dtype=torch.float64)
    """
    maps, indices = maps_and_indices(pred, fixations)
    # Scale and offset do not matter; in [0, 1] no variance overflows, and a constant map is exactly 0.
    values = minmax_normalize(maps.double().flatten(1))
    scores = [
        _mean_at(row, index if duplicates else index.unique(), ddof)
        for row, index in zip(values, indices, strict=True)
    ]
    return torch.stack(scores) if scores else values.new_empty(0)


def _mean_at(values: Tensor, index: Tensor, ddof: int) -> Tensor:
    if len(index) == 0:
        return values.new_tensor(torch.nan)
    deviations = values[index.to(values.device)] - values.mean()
    # A map of one pixel is constant as well, and has no sample standard deviation.
    return deviations.mean() / values.std(correction=ddof) if values.any() else values.new_zeros(())


def sim(pred: Tensor, density: Tensor, minmax: bool = True) -> Tensor:
    r"""Histogram intersection of prediction and density of each image.

    .. math:: \mathrm{SIM} = \sum_i \min(p_i, g_i)

    Both maps are brought to [0, 1], then to sum 1, as in the MIT benchmark. A map without mass becomes uniform. Source:
    Judd et al., "A benchmark of computational models of saliency to predict human fixations", MIT tech report 2012.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] on any scale.
        minmax: Whether to bring the maps to [0, 1] first; without it only maps below 0 are shifted (pysaliency).

    Returns:
        float64 [B] in [0, 1], 1 for equal distributions.

    Raises:
        ValueError: The shapes differ or are not [B, H, W], or a map is not finite.

    Example:
        >>> sim(torch.tensor([[[1.0, 2.0, 2.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
        tensor([0.5000], dtype=torch.float64)
    """
    pair = check_map_pair(pred, density)
    p, g = (sum_normalize(minmax_normalize(maps) if minmax else maps) for maps in pair)
    return torch.minimum(p, g).sum(1)


def kld(pred: Tensor, density: Tensor) -> Tensor:
    r"""Kullback–Leibler divergence of the density from the prediction, for each image, in nats.

    .. math:: \mathrm{KLD} = \sum_i g_i \ln\left(\varepsilon + \frac{g_i}{p_i + \varepsilon}\right)

    Both maps are divided by their sums, and ε = 2.2204e-16. A map that goes below 0 is shifted to ≥ 0 first; a map
    without mass becomes uniform. Always in float64: an ε that float32 can hold moves the score by 13 % on a 480×640
    map. Source: Eq. 2 of the paper on vision transformers as saliency learners; the MIT benchmark's MATLAB code.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] on any scale.

    Returns:
        float64 [B]; 0 for equal distributions (−ε up to rounding), at most about 36.

    Raises:
        ValueError: The shapes differ or are not [B, H, W], or a map is not finite.

    Example:
        >>> kld(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]]))
        tensor([0.1438], dtype=torch.float64)
    """
    p, g = (sum_normalize(maps) for maps in check_map_pair(pred, density))
    return (g * (EPS + g / (p + EPS)).log()).sum(1)


def information_gain(pred: Tensor, fixations: Sequence[Tensor], baseline: Tensor | None = None) -> Tensor:
    r"""Information gain of each image over a baseline, in bits per fixation.

    .. math:: \mathrm{IG} = \frac{1}{n} \sum_{i=1}^{n} \log_2(\varepsilon + p(x_i, y_i))
              - \log_2(\varepsilon + b(x_i, y_i))

    Both maps are divided by their sums, and ε = 2.2204e-16. A prediction that goes below 0 is shifted to ≥ 0 first;
    one without mass becomes uniform. Source: Kümmerer, Wallis and Bethge, "Information-theoretic model comparison
    unifies saliency metrics", PNAS 2015; in this form Bylinskii et al., TPAMI 2019.

    Args:
        pred: [B, H, W] saliency maps, read as densities.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        baseline: [H', W'] density, usually the center prior of the training set; resized to `pred` (antialiased
            bilinear). None for the uniform one.

    Returns:
        float64 [B]; 0 for the baseline itself, NaN for an image without fixations. A fixation where the prediction is
        0 costs about 52 bits more than one where it is 1.

    Raises:
        ValueError: A shape is wrong, a map is not finite, the baseline is negative somewhere or 0 everywhere, or a
            fixation lies outside its map.

    Example:
        >>> pred = torch.tensor([[[1.0, 3.0], [0.0, 4.0]]])
        >>> information_gain(pred, [torch.tensor([[1.0, 1.0]])])  # 1/2 instead of 1/4
        tensor([1.0000], dtype=torch.float64)
    """
    maps, indices = maps_and_indices(pred, fixations)
    logs = (EPS + sum_normalize(maps.double().flatten(1))).log2()
    reference = density_of(baseline, (maps.shape[1], maps.shape[2]))
    gains = logs - (EPS + reference.to(maps.device)).log2()
    # The mean of no values is NaN, which marks an image that cannot be scored.
    scores = [row[index.to(row.device)].mean() for row, index in zip(gains, indices, strict=True)]
    return torch.stack(scores) if scores else gains.new_empty(0)


def check_baseline(baseline: Tensor) -> Tensor:
    """Return a baseline as float64 [H, W] on the CPU; ValueError unless it is a density."""
    if baseline.ndim != 2:
        raise InvalidValueError(f"baseline has shape {tuple(baseline.shape)}; expected one density [H, W]")
    density = check_maps(baseline[None], "baseline")[0].cpu().double()
    if (density < 0).any() or not density.any():
        raise InvalidValueError(
            "baseline is negative somewhere or 0 everywhere; expected a density ≥ 0, such as the mean density of "
            "the training set (SaliencyDataModule.center_prior)"
        )
    return density


def density_of(baseline: Tensor | None, size: Size) -> Tensor:
    """The baseline at an image size (H, W), uniform for None: float64 [H · W] with sum 1, on the CPU."""
    if baseline is None:
        return torch.full((size[0] * size[1],), 1 / (size[0] * size[1]), dtype=torch.float64)
    return sum_normalize(_resized(check_baseline(baseline)[None], size).flatten(1))[0]


def emd(pred: Tensor, density: Tensor, factor: int = FACTOR, match_histogram: bool = False) -> Tensor:
    r"""Earth mover's distance of prediction and density of each image.

    .. math:: \mathrm{EMD} = \min_{f \ge 0} \sum_{ij} f_{ij} d_{ij}, \quad \sum_j f_{ij} = p_i,\;
              \sum_i f_{ij} = g_j

    Both maps are made `factor` times smaller (antialiased bilinear), then divided by their sums; d is the Euclidean
    distance in pixels of the small maps. Solved exactly by POT. Source: the MIT saliency benchmark's EMD.m, which
    resizes by bicubic interpolation and matches histograms over 256 bins, where `match_histogram` does so by rank.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] on any scale.
        factor: factor by which the maps are made smaller; sides are rounded up.
        match_histogram: Whether the small prediction first gets the values of the small density, in its order (MIT).

    Returns:
        float64 [B], ≥ 0; 0 for equal distributions, at most the diagonal of the small map.

    Raises:
        ModuleNotFoundError: POT is not installed.
        ValueError: The shapes differ or are not [B, H, W], a map is not finite, or the factor is below 1.

    Example:
        >>> pred, density = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 1.0]]])
        >>> emd(pred, density, factor=1)  # doctest: +SKIP
        tensor([1.5000], dtype=torch.float64)
    """
    check_pot()
    import ot

    if factor < 1:
        raise InvalidValueError(f"factor is {factor}; expected a whole number ≥ 1")
    pair = check_map_pair(pred, density)
    shape = (math.ceil(pred.shape[1] / factor), math.ceil(pred.shape[2] / factor))
    s, g = (_resized(maps.reshape(pred.shape), shape).flatten(1) for maps in pair)
    if match_histogram:
        s = torch.stack([_matched(row, target) for row, target in zip(s, g, strict=True)]) if len(s) else s
    rows = zip(sum_normalize(s).cpu().numpy(), sum_normalize(g).cpu().numpy(), strict=True)
    scores = [
        max(0.0, float(ot.emd2(p, q, _ground_distances(shape), numItermax=10_000_000))) for p, q in rows
    ]
    return torch.tensor(scores, dtype=torch.float64, device=s.device)


def check_pot() -> None:
    """Raise ModuleNotFoundError, with what to install, if POT is missing."""
    try:
        import ot  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the earth mover's distance needs POT, which is not installed: pip install 'salvit[emd]'",
            name="ot",
        ) from error


def _resized(maps: Tensor, shape: tuple[int, int]) -> Tensor:
    return maps if maps.shape[1:] == shape else resize_antialiased(maps[:, None], shape)[:, 0]


def _matched(values: Tensor, target: Tensor) -> Tensor:
    """The target's values in the order of `values`; tied ones get the mean of theirs."""
    levels, inverse, times = values.unique(return_inverse=True, return_counts=True)
    total = torch.zeros_like(levels).index_add(0, inverse.sort().values, target.sort().values)
    return (total / times)[inverse]


@lru_cache(maxsize=8)
def _ground_distances(shape: tuple[int, int]) -> np.ndarray:
    """Euclidean distance between any two pixels, float64 [h · w, h · w]."""
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    return np.hypot(y[:, None] - y, x[:, None] - x).astype(np.float64)
