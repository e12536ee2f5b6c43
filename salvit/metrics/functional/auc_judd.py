"""AUC-Judd: the MIT benchmark's area under the ROC curve."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.metrics.functional.draws import distinct, generator, image_key
from salvit.metrics.functional.fixations import fixation_indices
from salvit.metrics.functional.maps import check_maps, minmax_normalize
from salvit.metrics.functional.stepped_auc import area

JITTER = 1e-7
"""Largest amount by which ties are broken, of a map in [0, 1]."""


def auc_judd(pred: Tensor, fixations: Sequence[Tensor], jitter: bool = True, seed: int = 0) -> Tensor:
    r"""AUC-Judd of each image: fixated pixels against all others, with a threshold at each fixated pixel.

    .. math:: \mathrm{TP}_k = \frac{k}{n}, \quad
              \mathrm{FP}_k = \frac{|\{j : S_j \ge t_k\}| - k}{HW - n}, \quad t_1 \ge t_2 \ge \dots \ge t_n

    where t are the values at the n fixated pixels; the area is that of trapezia between these points, (0, 0) and
    (1, 1). A pixel fixated twice counts once, and fixated pixels are no negatives, in which it differs from `auc`.
    Uniform noise of up to 1e-7 is added to the map in [0, 1] to break ties. Source: the MIT saliency benchmark's
    AUC_Judd.m; Judd et al., "Learning to predict where humans look", ICCV 2009.

    Args:
        pred: [B, H, W] saliency maps on any scale; brought to [0, 1] before the noise, which MIT's images are.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        jitter: Whether to break ties. Without it tied pixels are all above the threshold, and FP of a constant
            map goes beyond 1, as in the script.
        seed: of the noise, which also depends on the image (see `image_key`), not on its batch.

    Returns:
        float64 [B], about 0.5 for a constant map, NaN for an image without fixations or fixated everywhere.

    Raises:
        ValueError: A shape does not fit, a map is not finite, a fixation lies outside its map, or the seed is
            negative.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> auc_judd(pred, [torch.tensor([[1.0, 1.0], [1.0, 0.0]])])
        tensor([0.8750], dtype=torch.float64)
    """
    maps = check_maps(pred, "pred")
    size = (maps.shape[1], maps.shape[2])
    rows = minmax_normalize(maps.double().flatten(1)).cpu().numpy()
    scores = []
    for values, index in zip(rows, fixation_indices(fixations, [size] * len(maps)), strict=True):
        if jitter:
            noise = generator(seed, image_key(index.numpy(), size)).random(len(values))
            values = values + JITTER * noise
        scores.append(_score(values, distinct(index.numpy())))
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)


def _score(values: np.ndarray, fixated: np.ndarray) -> float:
    others = len(values) - len(fixated)
    if len(fixated) == 0 or others == 0:
        return float("nan")
    limits = np.sort(values[fixated])[::-1]
    above = len(values) - np.searchsorted(np.sort(values), limits, "left")
    ranks = np.arange(1, len(fixated) + 1)
    return float(area((above - ranks) / others, ranks / len(fixated)))
