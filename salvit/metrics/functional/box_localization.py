"""Weakly supervised localisation: boxes drawn around a heatmap against ground-truth boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.boxes import box_masks, check_count, regions, union
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import normalized

LOCALIZATION_SCORES = ("pixel_accuracy", "iou", "dice", "precision", "recall")
"""In the order of the AG-CAM paper's tables."""
_REFERENCE_EPS = 1e-5
_ONE_MORE = np.array([0, 0, 1, 1])


def box_localization(
    heatmaps: Tensor,
    boxes: Sequence[Tensor],
    size: Size,
    threshold: float = 0.5,
    reference: bool = False,
) -> dict[str, Tensor]:
    r"""Pixel accuracy, IoU, Dice, precision and recall of the boxes around a heatmap's peaks, per image.

    The heatmap is brought to the input's size (bilinear) and to [0, 1]; each connected region above the
    threshold, diagonal neighbours included, gets its bounding box. With P the union of these boxes and G
    that of the ground-truth boxes, as sets of the N pixels,

    .. math:: \frac{|P \cap G| + |\bar P \cap \bar G|}{N},\;
        \frac{|P \cap G|}{|P \cup G|},\;
        \frac{2 |P \cap G|}{|P| + |G|},\;
        \frac{|P \cap G|}{|P|},\;
        \frac{|P \cap G|}{|G|}

    A constant heatmap has no peak, so P is empty; an empty P has precision 0. Source: Leem and Seo,
    "Attention Guided CAM", AAAI 2024, and its public evaluation script.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        boxes: B tensors [n, 4] of (x0, y0, x1, y1) in pixels of the input, exclusive edges; a pixel belongs
            to a box if its centre lies inside.
        size: (H, W) of the input in pixels.
        threshold: in [0, 1); a pixel is in a region if its value is above.
        reference: Whether to score as the authors' script: predicted boxes reach one pixel further right and
            down, and 1e-5 is added to numerators and denominators, so an empty P has precision 1.

    Returns:
        float64 [B] in [0, 1] per score, on the CPU; NaN for an image without a ground-truth pixel or whose
        heatmap is not finite.

    Raises:
        ValueError: A shape does not fit, the threshold is out of range, or a box lies outside its image or
            has no area.

    Example:
        >>> heatmap = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
        >>> scores = box_localization(heatmap, [torch.tensor([[2.0, 0.0, 3.0, 2.0]])], size=(2, 3))
        >>> {name: round(score.item(), 3) for name, score in scores.items()}
        {'pixel_accuracy': 0.667, 'iou': 0.333, 'dice': 0.5, 'precision': 0.5, 'recall': 0.5}
    """
    if not 0 <= threshold < 1:
        raise InvalidValueError(
            f"threshold is {threshold}; expected a value in [0, 1), above which a pixel counts"
        )
    check_count(boxes, heatmaps, "boxes")
    targets = box_masks(boxes, size)
    maps = normalized(heatmaps, size)
    rows = [
        _scores(heatmap.numpy(), target.numpy(), threshold, reference)
        for heatmap, target in zip(maps, targets, strict=True)
    ]
    columns = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(LOCALIZATION_SCORES)).unbind(1)
    return dict(zip(LOCALIZATION_SCORES, columns, strict=True))


def _scores(heatmap: np.ndarray, target: np.ndarray, threshold: float, reference: bool) -> list[float]:
    if np.isnan(heatmap[0, 0]) or not target.any():
        return [np.nan] * len(LOCALIZATION_SCORES)
    boxes = regions(heatmap > threshold).boxes
    predicted = union(boxes + _ONE_MORE if reference else boxes, target.shape)
    both, p, g = (int(np.count_nonzero(mask)) for mask in (predicted & target, predicted, target))
    eps = _REFERENCE_EPS if reference else 0.0
    agreeing = target.size - p - g + 2 * both
    ratios = [(agreeing, target.size), (both, p + g - both), (2 * both, p + g), (both, p), (both, g)]
    return [(part + eps) / (whole + eps) if whole + eps else 0.0 for part, whole in ratios]
