"""A heatmap against the object: its boxes, or its mask."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor
from torchvision.ops import box_iou

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import (
    bool_mask,
    check_heatmaps,
    finite_heatmaps,
    normalized,
    upsampled,
)

LOCALIZATION_SCORES = ("pixel_accuracy", "iou", "dice", "precision", "recall")
"""In the order of the AG-CAM paper's tables."""
_REFERENCE_EPS = 1e-5
_ONE_MORE = np.array([0, 0, 1, 1])
THRESHOLDS = tuple(step / 20 for step in range(20))
"""0, 0.05 … 0.95; nothing lies above 1."""
_TOLERANCE = 1e-3
"""Pixels by which an edge may leave the image: rescaling boxes in float32 rounds."""
# OpenCV's findContours, which the published protocols use, joins diagonal neighbours too.
_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


def box_localization(
    heatmaps: Tensor,
    boxes: Sequence[Tensor],
    size: Size,
    threshold: float = 0.5,
    reference: bool = False,
) -> dict[str, Tensor]:
    r"""Pixel accuracy, IoU, Dice, precision and recall of the boxes around the peaks of a heatmap, per image.

    The heatmap is brought to the size of the input (bilinear) and to [0, 1]; each connected region above the
    threshold, diagonal neighbours included, gets its bounding box. With P the union of these boxes and G the union of
    the ground-truth boxes, as sets of the N pixels,

    .. math:: \frac{|P \cap G| + |\bar P \cap \bar G|}{N},\;
        \frac{|P \cap G|}{|P \cup G|},\;
        \frac{2 |P \cap G|}{|P| + |G|},\;
        \frac{|P \cap G|}{|P|},\;
        \frac{|P \cap G|}{|G|}

    A constant heatmap has no peak, so P is empty; an empty P has precision 0. Source: Leem and Seo, "Attention Guided
    CAM", AAAI 2024, and its public evaluation script.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        boxes: B tensors [n, 4] of (x0, y0, x1, y1) in pixels of the input, exclusive edges.
        size: (H, W) of the input in pixels.
        threshold: in [0, 1); a pixel is in a region if its value is above.
        reference: Whether to score as the authors' script: predicted boxes reach one pixel further right and down, and
            1e-5 is added to numerators and denominators, so an empty P has precision 1.

    Returns:
        float64 [B] in [0, 1] per score, on the CPU; NaN for an image without a ground-truth pixel or whose heatmap is
        not finite.

    Raises:
        ValueError: A shape is wrong, the threshold is out of range, or a box lies outside its image or has no area.

    Example:
        >>> heatmap = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
        >>> scores = box_localization(heatmap, [torch.tensor([[2.0, 0.0, 3.0, 2.0]])], size=(2, 3))
        >>> {name: round(score.item(), 3) for name, score in scores.items()}
        {'pixel_accuracy': 0.667, 'iou': 0.333, 'dice': 0.5, 'precision': 0.5, 'recall': 0.5}
    """
    _check_threshold(threshold)
    check_count(boxes, heatmaps, "boxes")
    images = zip(normalized(heatmaps, size), box_masks(boxes, size), strict=True)
    rows = [_scores(heatmap.numpy(), target.numpy(), threshold, reference) for heatmap, target in images]
    columns = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(LOCALIZATION_SCORES)).unbind(1)
    return dict(zip(LOCALIZATION_SCORES, columns, strict=True))


def _scores(heatmap: np.ndarray, target: np.ndarray, threshold: float, reference: bool) -> list[float]:
    if np.isnan(heatmap[0, 0]) or not target.any():
        return [np.nan] * len(LOCALIZATION_SCORES)
    boxes, _ = regions(heatmap > threshold)
    predicted = union(boxes + _ONE_MORE if reference else boxes, target.shape)
    both, p, g = (int(np.count_nonzero(mask)) for mask in (predicted & target, predicted, target))
    eps = _REFERENCE_EPS if reference else 0.0
    agreeing = target.size - p - g + 2 * both
    ratios = [(agreeing, target.size), (both, p + g - both), (2 * both, p + g), (both, p), (both, g)]
    return [(part + eps) / (whole + eps) if whole + eps else 0.0 for part, whole in ratios]


class SweepIoU(NamedTuple):
    """IoUs at each of T thresholds, float64 [B, T].

    `union` compares the unions of all boxes, `largest` the box of the largest region with the ground-truth box that
    fits best, and `best` is the largest IoU of any region's box with any ground-truth box.
    """

    union: Tensor
    largest: Tensor
    best: Tensor


def box_sweep(
    heatmaps: Tensor, boxes: Sequence[Tensor], size: Size, thresholds: Sequence[float] = THRESHOLDS
) -> SweepIoU:
    """IoU of predicted with ground-truth boxes at each threshold, per image.

    Boxes are drawn as in `box_localization`. Choe et al., "Evaluating Weakly Supervised Object Localization Methods
    Right", CVPR 2020, call a box correct by `largest` for MaxBoxAcc, and by `best` for MaxBoxAccV2. Differences from
    their public evaluator: maps are not rounded to 8 bits, edges are exclusive and boxes at the right and lower border
    keep their last pixel, and the largest region has the most pixels, not the contour that encloses most.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        boxes: B tensors [n, 4] of (x0, y0, x1, y1) in pixels of the input, exclusive edges.
        size: (H, W) of the input in pixels.
        thresholds: T values in [0, 1); a pixel is in a region if its value is above.

    Returns:
        IoUs in [0, 1], on the CPU; 0 where there is no region, NaN for an image without a ground-truth pixel or whose
        heatmap is not finite.

    Raises:
        ValueError: A shape is wrong, a threshold is out of range, or a box lies outside its image or has no area.

    Example:
        >>> heatmap = torch.tensor([[[0.5, 1.0, 0.0, 0.2]]])
        >>> box_sweep(heatmap, [torch.tensor([[1.0, 0.0, 2.0, 1.0]])], (1, 4), (0.1, 0.3, 0.6)).largest
        tensor([[0.5000, 0.5000, 1.0000]], dtype=torch.float64)
    """
    if not thresholds or not all(0 <= threshold < 1 for threshold in thresholds):
        raise InvalidValueError(f"thresholds are {tuple(thresholds)}; expected at least one, all in [0, 1)")
    check_count(boxes, heatmaps, "boxes")
    corners = [one.detach().cpu().double() for one in boxes]
    images = zip(normalized(heatmaps, size).numpy(), corners, box_masks(boxes, size), strict=True)
    ious = [
        [_ious(heatmap, threshold, truth, target.numpy()) for threshold in thresholds]
        for heatmap, truth, target in images
    ]
    return SweepIoU(*torch.tensor(ious, dtype=torch.float64).reshape(-1, len(thresholds), 3).unbind(2))


def _ious(
    heatmap: np.ndarray, threshold: float, boxes: Tensor, target: np.ndarray
) -> tuple[float, float, float]:
    if np.isnan(heatmap[0, 0]) or not target.any():
        return np.nan, np.nan, np.nan
    found, areas = regions(heatmap > threshold)
    if not len(found):
        return 0.0, 0.0, 0.0
    predicted = union(found, target.shape)
    overlap = np.count_nonzero(predicted & target) / np.count_nonzero(predicted | target)
    fits = box_iou(torch.from_numpy(found).double(), boxes).amax(1).numpy()
    return overlap, float(fits[areas.argmax()]), float(fits.max())


def energy_pointing(heatmaps: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
    r"""Share of the positive energy of a heatmap that falls on the object, per image.

    .. math:: \frac{\sum_{i \in G} \max(S_i, 0)}{\sum_i \max(S_i, 0)}

    with the heatmap S brought to the size of the mask (bilinear). Source: Wang et al., "Score-CAM", CVPR workshops
    2020, where G is the bounding box.

    Args:
        heatmaps: [B, h, w] on any grid.
        masks: B masks [H, W] of the object, positive inside (`box_masks` for boxes); None for an image without one.

    Returns:
        float64 [B] in [0, 1], on the CPU; 0 for a heatmap without positive values, NaN for an image without a mask or
        whose mask is empty or heatmap is not finite.

    Raises:
        ValueError: A shape is wrong.

    Example:
        >>> energy_pointing(torch.tensor([[[1.0, 3.0], [-5.0, 0.0]]]), [torch.tensor([[0, 1], [1, 0]])])
        tensor([0.7500], dtype=torch.float64)
    """
    maps = check_heatmaps(heatmaps).cpu().double()
    scores = torch.tensor([_share(*pair) for pair in with_masks(maps, masks)], dtype=torch.float64)
    return torch.where(finite_heatmaps(maps), scores, torch.nan)


def with_masks(heatmaps: Tensor, masks: Sequence[Tensor | None]) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Each heatmap with its mask; None for an image without one, or whose mask is empty."""
    check_count(masks, heatmaps, "masks")
    for image, (heatmap, mask) in enumerate(zip(heatmaps, masks, strict=True)):
        inside = bool_mask(mask, image)
        yield heatmap, None if inside is None or not inside.any() else inside


def _share(heatmap: Tensor, mask: Tensor | None) -> float:
    if mask is None:
        return torch.nan
    energy = upsampled(heatmap[None], (mask.shape[0], mask.shape[1]))[0].clamp(min=0)
    # First divided by the peak: the sum of very large values would overflow.
    energy = energy / peak if (peak := energy.max()) > 0 else energy
    total = energy.sum()
    return float(energy[mask].sum() / total) if total > 0 else 0.0


def smm(heatmaps: Tensor, masks: Sequence[Tensor | None], threshold: float = 0.5) -> Tensor:
    r"""Overlap of the thresholded heatmap with an instance mask, per image.

    .. math:: \mathrm{SMM} = \frac{|P \cap G|}{|P \cup G|}

    with P the pixels whose heatmap, brought to the size of the mask (bilinear) and to [0, 1], is above the threshold.
    Source: Agrawal, Dayton and Dauber, "Visualizing attention in Vision Transformers" (poster), which says overlap
    from 0 to 1 and gives no formula; intersection over union is 1 only where both agree.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        masks: B masks [H, W] of the object, positive inside; None for an image without one.
        threshold: in [0, 1).

    Returns:
        float64 [B] in [0, 1], on the CPU; 0 for a constant heatmap, NaN for an image without a mask or whose mask is
        empty or heatmap is not finite.

    Raises:
        ValueError: A shape is wrong, or the threshold is out of range.

    Example:
        >>> smm(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), [torch.tensor([[0, 1], [0, 0]])])
        tensor([0.5000], dtype=torch.float64)
    """
    _check_threshold(threshold)
    pairs = with_masks(check_heatmaps(heatmaps), masks)
    return torch.tensor([_overlap(*pair, threshold) for pair in pairs], dtype=torch.float64)


def _overlap(heatmap: Tensor, mask: Tensor | None, threshold: float) -> float:
    if mask is None:
        return torch.nan
    values = normalized(heatmap[None], (mask.shape[0], mask.shape[1]))[0]
    if values[0, 0].isnan():
        return torch.nan
    attended = values > threshold
    return float((attended & mask).sum() / (attended | mask).sum())


def regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes, int64 [m, 4] of (x0, y0, x1, y1) with exclusive edges, and areas [m] of a mask's connected regions.

    They are in order from top to bottom; diagonal neighbours belong together.
    """
    labels, count = label(mask, _EIGHT_CONNECTED)
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(labels)]
    boxes = np.array(corners, dtype=np.int64).reshape(-1, 4)
    return boxes, np.bincount(labels.ravel(), minlength=count + 1)[1:]


def union(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Mask [H, W] of the pixels in at least one box, int [n, 4] of (x0, y0, x1, y1), exclusive edges ≥ 0."""
    mask = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def box_masks(boxes: Sequence[Tensor], size: Size) -> list[Tensor]:
    """Union of the boxes of each image, as a mask; a pixel belongs to a box if its centre lies inside.

    Args:
        boxes: B tensors [n, 4] of (x0, y0, x1, y1) in pixels, exclusive edges: the whole image is (0, 0, W, H).
        size: (H, W) of the images.

    Returns:
        B bool tensors [H, W] on the CPU.

    Raises:
        ValueError: A tensor is not [n, 4], or a box lies outside the image or has no area.

    Example:
        >>> box_masks([torch.tensor([[0.6, 0.0, 3.0, 1.0]])], (2, 3))[0].int()
        tensor([[0, 1, 1],
                [0, 0, 0]], dtype=torch.int32)
    """
    height, width = size
    high = torch.tensor([width, height, width, height], dtype=torch.float64) + _TOLERANCE
    masks = []
    for image, corners in enumerate(boxes):
        if corners.ndim != 2 or corners.shape[1] != 4:
            raise InvalidValueError(
                f"boxes of image {image} have shape {tuple(corners.shape)}; expected [n, 4] of "
                "(x0, y0, x1, y1), and [0, 4] for none"
            )
        values = corners.detach().cpu().double()
        inside = ((values >= -_TOLERANCE) & (values <= high)).all(1) & (values[:, 2:] > values[:, :2]).all(1)
        for box in inside.logical_not().nonzero().flatten().tolist():
            raise InvalidValueError(
                f"box {box} of image {image}, {tuple(corners[box].tolist())}, lies outside its "
                f"{height}×{width} (H×W) image or has no area; expected 0 ≤ x0 < x1 ≤ {width} and "
                f"0 ≤ y0 < y1 ≤ {height} in pixels of the input, exclusive edges: cut it off at the image's "
                "edge, or drop it"
            )
        # Pixel x has its centre at x + 0.5 and is inside where x0 ≤ x + 0.5 < x1: boxes that share an edge share
        # no pixel.
        pixels = (values - 0.5).ceil().clamp(min=0).long().numpy()
        masks.append(torch.from_numpy(union(pixels, size)))
    return masks


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise InvalidValueError(
            f"threshold is {threshold}; expected a value in [0, 1), above which a pixel counts"
        )


def check_count(truth: Sequence[object], heatmaps: Tensor, name: str) -> None:
    """Raise ValueError unless there is one entry of boxes or masks, called `name`, per heatmap."""
    if len(truth) != len(heatmaps):
        raise InvalidValueError(
            f"{name} has {len(truth)} entries for {len(heatmaps)} heatmaps; expected one per image, also for "
            "an image without any"
        )
