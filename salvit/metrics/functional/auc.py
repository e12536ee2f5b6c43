"""Area under the ROC curve against all pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.metrics.functional.fixations import fixation_indices
from salvit.metrics.functional.maps import check_maps
from salvit.metrics.functional.ranking import mann_whitney_auc, rankable


def auc(pred: Tensor, fixations: Sequence[Tensor]) -> Tensor:
    r"""Exact AUC of each image: the chance that a fixation outranks a random pixel.

    .. math:: \mathrm{AUC} = \frac{1}{n H W} \sum_{i=1}^{n} \sum_{j=1}^{HW} [S_i > S_j] + \tfrac12 [S_i = S_j]

    No thresholds, no sampling, no jitter; all pixels are negatives, fixated ones too, and repeated fixations
    count repeatedly: pysaliency's AUC with uniform non-fixations.

    Args:
        pred: [B, H, W] saliency maps; only their order matters, which is taken in their own dtype.
        fixations: B tensors [n, 2] of (x, y) in pixels of `pred`.

    Returns:
        float64 [B] in [0, 1]; 0.5 for a constant map, NaN for an image without fixations.

    Raises:
        ValueError: A shape does not fit, a map is not finite, or a fixation lies outside its map.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> auc(pred, [torch.tensor([[1.0, 1.0]])])
        tensor([0.8750], dtype=torch.float64)
    """
    maps = check_maps(pred, "pred")
    indices = fixation_indices(fixations, [(maps.shape[1], maps.shape[2])] * len(maps))
    rows = zip(rankable(maps), indices, strict=True)
    scores = [mann_whitney_auc(values[index.numpy()], values) for values, index in rows]
    return torch.tensor(scores, dtype=torch.float64, device=maps.device)
