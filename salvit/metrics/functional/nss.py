"""Normalized scanpath saliency."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.metrics.functional.fixations import fixation_indices
from salvit.metrics.functional.maps import check_maps, minmax_normalize


def nss(pred: Tensor, fixations: Sequence[Tensor], duplicates: bool = True, ddof: int = 1) -> Tensor:
    r"""Normalized scanpath saliency of each image: the prediction at the fixations, in standard deviations.

    .. math:: \mathrm{NSS} = \frac{1}{n} \sum_{i=1}^{n} \frac{S(x_i, y_i) - \bar S}{\mathrm{std}(S)}

    with the sample standard deviation (as the MIT benchmark's MATLAB code). Source: Peters et al.,
    "Components of bottom-up gaze allocation in natural images", Vision Research 2005.

    Args:
        pred: [B, H, W] saliency maps on any scale.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.
        duplicates: Whether a pixel fixated k times counts k times; False scores the binary fixation map
            (MIT).
        ddof: 1 for the sample's standard deviation, over HW − 1; 0 for the population's, over HW (pysaliency).

    Returns:
        float64 [B]; 0 for a constant map, NaN for an image without fixations.

    Raises:
        ValueError: A shape does not fit, a map is not finite, or a fixation lies outside its map.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0, 2.0]]])
        >>> nss(pred, [torch.tensor([[2.0, 0.0], [1.0, 0.0]])])
        tensor([0.5000], dtype=torch.float64)
    """
    maps = check_maps(pred, "pred")
    # Scale and offset do not matter; in [0, 1] no variance overflows, and a constant map is exactly 0.
    values = minmax_normalize(maps.double().flatten(1))
    indices = fixation_indices(fixations, [(maps.shape[1], maps.shape[2])] * len(maps))
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
