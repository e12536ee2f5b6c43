"""Ground-truth boxes, and boxes around the connected regions of a heatmap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size

_TOLERANCE = 1e-3
"""Pixels by which an edge may leave the image: rescaling boxes in float32 rounds."""
# OpenCV's findContours, which the published protocols use, joins diagonal neighbours too.
_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


class Regions(NamedTuple):
    """Connected regions of a mask.

    Attributes:
        boxes: int64 [m, 4] of (x0, y0, x1, y1), exclusive edges.
        areas: int64 [m], pixels of each region.
    """

    boxes: np.ndarray
    areas: np.ndarray


def regions(mask: np.ndarray) -> Regions:
    """Find the connected regions of a mask; diagonal neighbours belong together.

    Args:
        mask: bool [H, W].

    Returns:
        The regions, from top to bottom; none for an empty mask.

    Example:
        >>> found = regions(np.array([[1, 0, 0, 1], [0, 1, 0, 0]], dtype=bool))
        >>> found.boxes.tolist(), found.areas.tolist()
        ([[0, 0, 2, 2], [3, 0, 4, 1]], [2, 1])
    """
    labels, count = label(mask, _EIGHT_CONNECTED)
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(labels)]
    boxes = np.array(corners, dtype=np.int64).reshape(-1, 4)
    return Regions(boxes, np.bincount(labels.ravel(), minlength=count + 1)[1:])


def union(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Mask of the pixels that lie in at least one box.

    Args:
        boxes: int [n, 4] of (x0, y0, x1, y1), exclusive edges ≥ 0; what lies beyond the image is cut off.
        size: (H, W).

    Returns:
        Bool [H, W].

    Example:
        >>> union(np.array([[0, 0, 1, 1], [1, 0, 3, 9]]), (2, 3)).astype(int)
        array([[1, 1, 1],
               [0, 1, 1]])
    """
    mask = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def box_masks(boxes: Sequence[Tensor], size: Size) -> list[Tensor]:
    """Union of the boxes of each image, as a mask; a pixel belongs to a box if its centre lies inside.

    Args:
        boxes: B tensors [n, 4] of (x0, y0, x1, y1) in pixels, exclusive edges: the whole image is
            (0, 0, W, H). n may be 0.
        size: (H, W) of the images.

    Returns:
        B bool tensors [H, W] on the CPU.

    Raises:
        ValueError: A tensor is not [n, 4], or a box lies outside the image or has no area; names image and
            box.

    Example:
        >>> box_masks([torch.tensor([[0.6, 0.0, 3.0, 1.0]])], (2, 3))[0].int()
        tensor([[0, 1, 1],
                [0, 0, 0]], dtype=torch.int32)
    """
    check_boxes(boxes, size)
    # Pixel x has its centre at x + 0.5 and is inside where x0 ≤ x + 0.5 < x1: boxes that share an edge share
    # no pixel.
    edges = [(corners.detach().cpu().double() - 0.5).ceil().clamp(min=0).long().numpy() for corners in boxes]
    return [torch.from_numpy(union(corners, size)) for corners in edges]


def check_boxes(boxes: Sequence[Tensor], size: Size) -> None:
    """Raise unless all boxes lie in their image and have an area.

    Args:
        boxes: what should be tensors [n, 4] of (x0, y0, x1, y1) in pixels, exclusive edges.
        size: (H, W) of the images.

    Raises:
        ValueError: They do not; names the first image and box.
    """
    height, width = size
    low = torch.tensor([0.0, 0.0, 0.0, 0.0], dtype=torch.float64) - _TOLERANCE
    high = torch.tensor([width, height, width, height], dtype=torch.float64) + _TOLERANCE
    for image, corners in enumerate(boxes):
        if corners.ndim != 2 or corners.shape[1] != 4:
            raise InvalidValueError(
                f"boxes of image {image} have shape {tuple(corners.shape)}; expected [n, 4] of "
                "(x0, y0, x1, y1), and [0, 4] for none"
            )
        values = corners.detach().cpu().double()
        inside = ((values >= low) & (values <= high)).all(1) & (values[:, 2:] > values[:, :2]).all(1)
        for box in inside.logical_not().nonzero().flatten().tolist():
            raise InvalidValueError(
                f"box {box} of image {image}, {tuple(corners[box].tolist())}, lies outside its "
                f"{height}×{width} (H×W) image or has no area; expected 0 ≤ x0 < x1 ≤ {width} and "
                f"0 ≤ y0 < y1 ≤ {height} in pixels of the input, exclusive edges: cut it off at the image's "
                "edge, or drop it"
            )


def check_count(truth: Sequence[object], heatmaps: Tensor, name: str) -> None:
    """Raise unless there is one entry of ground truth per heatmap.

    Args:
        truth: boxes or masks per image.
        heatmaps: [B, h, w].
        name: the argument's name, for the message.

    Raises:
        ValueError: The numbers differ.
    """
    if len(truth) != len(heatmaps):
        raise InvalidValueError(
            f"{name} has {len(truth)} entries for {len(heatmaps)} heatmaps; expected one per image, also for "
            "an image without any"
        )
