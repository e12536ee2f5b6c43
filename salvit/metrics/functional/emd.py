"""Earth mover's distance."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError, MissingExtraError
from salvit.metrics.functional.maps import check_map_pair, sum_normalize
from salvit.resize import resize_antialiased

FACTOR = 32
"""By how much maps are made smaller first, in the MIT benchmark."""


def emd(pred: Tensor, density: Tensor, factor: int = FACTOR, match_histogram: bool = False) -> Tensor:
    r"""Earth mover's distance of prediction and ground-truth density of each image.

    .. math:: \mathrm{EMD} = \min_{f \ge 0} \sum_{ij} f_{ij} d_{ij}, \quad \sum_j f_{ij} = p_i,\;
              \sum_i f_{ij} = g_j

    the least distance over which the mass of the prediction has to be moved. Both maps are made `factor` times
    smaller (antialiased bilinear), then divided by their sums; d is the Euclidean distance in pixels of the small
    maps. Solved exactly by POT. Source: the MIT saliency benchmark's EMD.m, which uses bicubic interpolation, and
    matches histograms over 256 bins where `match_histogram` does so by rank.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        density: [B, H, W] ground truth on any scale.
        factor: by how much smaller the maps are made; sides are rounded up.
        match_histogram: Whether the small prediction first gets the values of the small density, in its own order
            (MIT); then only where its mass is counts, not how it is spread.

    Returns:
        float64 [B], ≥ 0; 0 for equal distributions, at most the diagonal of the small map.

    Raises:
        ModuleNotFoundError: POT is not installed.
        ValueError: The shapes differ or are not [B, H, W], a map is not finite, or the factor is not positive.

    Example:
        >>> pred, density = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 1.0]]])
        >>> emd(pred, density, factor=1)  # doctest: +SKIP
        tensor([1.5000], dtype=torch.float64)
    """
    check_pot()
    if factor < 1:
        raise InvalidValueError(f"factor is {factor}; expected a whole number ≥ 1")
    pair = check_map_pair(pred, density)
    shape = (math.ceil(pred.shape[1] / factor), math.ceil(pred.shape[2] / factor))
    s, g = (_smaller(maps.reshape(pred.shape), shape) for maps in pair)
    if match_histogram:
        s = torch.stack([_matched(row, target) for row, target in zip(s, g, strict=True)]) if len(s) else s
    rows = zip(sum_normalize(s).cpu().numpy(), sum_normalize(g).cpu().numpy(), strict=True)
    scores = [_distance(p, q, shape) for p, q in rows]
    return torch.tensor(scores, dtype=torch.float64, device=s.device)


def check_pot() -> None:
    """Say what to install if the earth mover's distance cannot be computed.

    Raises:
        ModuleNotFoundError: POT is not installed.
    """
    try:
        import ot  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the earth mover's distance needs POT, which is not installed: pip install 'salvit[emd]'",
            name="ot",
        ) from error


def _smaller(maps: Tensor, shape: tuple[int, int]) -> Tensor:
    """float64 [B, h · w]."""
    if maps.shape[1:] == shape:
        return maps.flatten(1)
    return resize_antialiased(maps[:, None], shape).flatten(1)


def _matched(values: Tensor, target: Tensor) -> Tensor:
    """The target's values in the order of `values`; tied ones get the mean of theirs."""
    levels, inverse, times = values.unique(return_inverse=True, return_counts=True)
    total = torch.zeros_like(levels).index_add(0, inverse.sort().values, target.sort().values)
    return (total / times)[inverse]


def _distance(p: np.ndarray, q: np.ndarray, shape: tuple[int, int]) -> float:
    import ot

    return max(0.0, float(ot.emd2(p, q, _ground_distances(shape), numItermax=10_000_000)))


@lru_cache(maxsize=8)
def _ground_distances(shape: tuple[int, int]) -> np.ndarray:
    """Euclidean distance between any two pixels, float64 [h · w, h · w]."""
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    return np.hypot(y[:, None] - y, x[:, None] - x).astype(np.float64)
