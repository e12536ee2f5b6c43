"""Where the objects of an image are: boxes as annotated, and what is left of them in the input of a ViT."""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.dataset import Size
from datamodules.view import View


class Annotation(NamedTuple):
    """What an image shows.

    Attributes:
        label: index of the class of the image.
        boxes: float64 [n, 4] of (x0, y0, x1, y1) as annotated: edges in pixels, 0 at the image's left and
            top, so that (0, 0, width, height) is all of it. They may leave the image or be empty.
        box_labels: int64 [n], index of the class in each box.
        size: (height, width) of the image on which they were drawn, or None if nothing says another.
    """

    label: int
    boxes: NDArray[np.float64]
    box_labels: NDArray[np.int64]
    size: Size | None = None


AnnotationReader: TypeAlias = Callable[[], Annotation]
"""Reads an image's annotation; raises CorruptFileError, which names the file."""


class SeenBoxes(NamedTuple):
    """Boxes in the input of a ViT.

    Attributes:
        boxes: float32 [m, 4] of (x0, y0, x1, y1) in pixels of the input, inside it and not empty.
        labels: int64 [m].
        counts: how many boxes were ``clipped`` to the image, or left out because they were ``empty`` or
            because the view shows none of them (``unseen``); 1 for an image ``without`` a box that is left,
            and for one ``rescaled`` because its boxes were drawn on a copy of another size.
    """

    boxes: Tensor
    labels: Tensor
    counts: Counter[str]


_COUNTED = {
    "without": "images without a box",
    "clipped": "boxes that leave their image, clipped to it",
    "empty": "boxes without area in their image, left out",
    "unseen": "boxes cropped away",
    "rescaled": "images of another size than their boxes were drawn on, which are rescaled",
}


def see_boxes(annotation: Annotation, view: View) -> SeenBoxes:
    """Clip boxes to their image, then move them to where a view shows them.

    Args:
        annotation: whose boxes.
        view: how the image becomes the input.

    Returns:
        The boxes that are seen, and the number of those that were changed or left out.

    Example:
        >>> from datamodules.view import squash
        >>> boxes = np.array([[-10.0, 0.0, 20.0, 30.0], [5.0, 5.0, 5.0, 9.0]])
        >>> seen = see_boxes(Annotation(0, boxes, np.array([0, 0])), squash((60, 40), (30, 30)))
        >>> seen.boxes, dict(+seen.counts)
        (tensor([[ 0.,  0., 15., 15.]]), {'clipped': 1, 'empty': 1})
    """
    drawn = annotation.size or view.native
    scale = np.array([view.native[1] / drawn[1], view.native[0] / drawn[0]])
    annotated = annotation.boxes * np.tile(scale, 2)
    inside = _clip(annotated, view.native)
    seen = _clip(view.boxes(inside), view.size).astype(np.float32)
    full, kept = _has_area(inside), _has_area(inside) & _has_area(seen)
    counts = Counter(
        without=int(not kept.any()),
        clipped=int((full & (inside != annotated).any(axis=1)).sum()),
        empty=int((~full).sum()),
        unseen=int((full & ~kept).sum()),
        rescaled=int(drawn != view.native),
    )
    labels = torch.from_numpy(annotation.box_labels[kept])
    return SeenBoxes(torch.from_numpy(seen[kept]), labels, counts)


def warn_boxes(counts: Counter[str], images: int, split: str) -> None:
    """Warn once of everything that was counted about the boxes of a split."""
    lines = [f"  {text}: {counts[key]}" for key, text in _COUNTED.items() if counts[key]]
    if lines:
        title = f"boxes of the {images} images of the {split} split:"
        warnings.warn("\n".join([title, *lines]), stacklevel=2)


def _clip(boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    return boxes.clip(0, np.array([size[1], size[0], size[1], size[0]]))


def _has_area(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """False also for a box of reversed edges, or with one that is not a number."""
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
