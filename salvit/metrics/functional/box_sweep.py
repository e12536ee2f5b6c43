"""Localisation at every threshold: the IoUs that MaxBoxAcc and the best IoU are made of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from salvit.errors import InvalidValueError
from salvit.metrics.functional.boxes import box_masks, check_count, regions, union
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import normalized

THRESHOLDS = tuple(step / 20 for step in range(20))
"""0, 0.05 … 0.95; nothing lies above 1."""


class SweepIoU(NamedTuple):
    """IoUs of an image at each of T thresholds, float64 [B, T].

    Attributes:
        union: of the union of all predicted boxes with the union of the ground-truth boxes.
        largest: of the largest region's box with the ground-truth box it fits best.
        best: of whichever region's box fits any ground-truth box best.
    """

    union: Tensor
    largest: Tensor
    best: Tensor


def box_sweep(
    heatmaps: Tensor, boxes: Sequence[Tensor], size: Size, thresholds: Sequence[float] = THRESHOLDS
) -> SweepIoU:
    """IoU of predicted with ground-truth boxes at each threshold, per image.

    Boxes are drawn as in `box_localization`. `largest` and `best` are what Choe et al., "Evaluating Weakly
    Supervised Object Localization Methods Right", CVPR 2020, call a box correct by: for MaxBoxAcc that of
    the largest region, for MaxBoxAccV2 (their public evaluator's) the best pair of boxes. Against that
    evaluator: maps are not rounded to 8 bits, edges are exclusive and boxes at the right and lower border
    keep their last pixel, and the largest region is the one with most pixels, not the one whose contour
    encloses most.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        boxes: B tensors [n, 4] of (x0, y0, x1, y1) in pixels of the input, exclusive edges.
        size: (H, W) of the input in pixels.
        thresholds: T values in [0, 1); a pixel is in a region if its value is above.

    Returns:
        IoUs in [0, 1], on the CPU; 0 where there is no region, NaN for an image without a ground-truth pixel
        or whose heatmap is not finite.

    Raises:
        ValueError: A shape does not fit, a threshold is out of range, or a box lies outside its image or has
            no area.

    Example:
        >>> heatmap = torch.tensor([[[0.5, 1.0, 0.0, 0.2]]])
        >>> sweep = box_sweep(heatmap, [torch.tensor([[1.0, 0.0, 2.0, 1.0]])], (1, 4), (0.1, 0.3, 0.6))
        >>> sweep.union
        tensor([[0.3333, 0.5000, 1.0000]], dtype=torch.float64)
        >>> sweep.largest
        tensor([[0.5000, 0.5000, 1.0000]], dtype=torch.float64)
    """
    if not thresholds or not all(0 <= threshold < 1 for threshold in thresholds):
        raise InvalidValueError(f"thresholds are {tuple(thresholds)}; expected at least one, all in [0, 1)")
    check_count(boxes, heatmaps, "boxes")
    targets = box_masks(boxes, size)
    maps = normalized(heatmaps, size)
    images = [
        _sweep(heatmap.numpy(), corners.detach().cpu().double(), target.numpy(), thresholds)
        for heatmap, corners, target in zip(maps, boxes, targets, strict=True)
    ]
    ious = torch.tensor(np.array(images), dtype=torch.float64).reshape(-1, len(thresholds), 3)
    return SweepIoU(*ious.unbind(2))


def _sweep(heatmap: np.ndarray, boxes: Tensor, target: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """IoUs [T, 3] of one image."""
    if np.isnan(heatmap[0, 0]) or not target.any():
        return np.full((len(thresholds), 3), np.nan)
    return np.array([_ious(heatmap > threshold, boxes, target) for threshold in thresholds])


def _ious(mask: np.ndarray, boxes: Tensor, target: np.ndarray) -> tuple[float, float, float]:
    found = regions(mask)
    if not len(found.boxes):
        return 0.0, 0.0, 0.0
    predicted = union(found.boxes, target.shape)
    overlap = np.count_nonzero(predicted & target) / np.count_nonzero(predicted | target)
    fits = box_iou(torch.from_numpy(found.boxes).double(), boxes).amax(1).numpy()
    return overlap, float(fits[found.areas.argmax()]), float(fits.max())
