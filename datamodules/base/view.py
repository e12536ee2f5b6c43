"""Resizing, cropping and mirroring of an image, its boxes and its masks for the input of a ViT."""

import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from datamodules.base.dataset import Sample, Size
from datamodules.base.images import to_tensor


class View(NamedTuple):
    """A window of a resized image: x' = x · scaled width / native width − left.

    Attributes:
        native: (height, width) of the image.
        scaled: (height, width) that the whole image is resized to.
        corner: (top, left) of the window, in pixels of the resized image.
        size: (height, width) of the window.
    """

    native: Size
    scaled: Size
    corner: tuple[int, int]
    size: Size

    def image(self, image: Image.Image) -> Tensor:
        """Resize (antialiased bilinear) and crop an RGB image: float32 [3, H, W] in [0, 1]."""
        return self._cut(to_tensor(image, self.scaled))

    def mask(self, mask: NDArray[np.bool_]) -> Tensor:
        """Resize (nearest pixel centre) and crop a mask of the native size: float32 [H, W] in {0, 1}."""
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        return self._cut(F.interpolate(pixels, self.scaled, mode="nearest-exact")[0, 0])

    def boxes(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map boxes [n, 4] of (x0, y0, x1, y1) in native pixels; the result may reach outside the window."""
        (top, left), (height, width) = self.corner, self.native
        scale = np.array([self.scaled[1] / width, self.scaled[0] / height])
        return edges * np.tile(scale, 2) - np.array([left, top, left, top])

    def _cut(self, tensor: Tensor) -> Tensor:
        (top, left), (height, width) = self.corner, self.size
        return tensor[..., top : top + height, left : left + width].contiguous()


Resize: TypeAlias = Callable[[Size, Size], View]
"""Takes the (height, width) of an image and of the input; returns how the image becomes the input."""


def squash(native: Size, size: Size) -> View:
    """Show the whole image and ignore its proportions.

    Example:
        >>> squash((100, 200), (50, 50)).boxes(np.array([[20.0, 20.0, 100.0, 60.0]]))
        array([[ 5., 10., 25., 30.]])
    """
    return View(native, size, (0, 0), size)


def center_crop(native: Size, size: Size, crop_pct: float = 0.875) -> View:
    """Keep the proportions and show the middle, as timm's transform for evaluation.

    The image is resized until it just covers (height, width) / ``crop_pct``, then cropped around its centre.

    Example:
        >>> center_crop((100, 200), (84, 84))
        View(native=(100, 200), scaled=(96, 192), corner=(6, 54), size=(84, 84))
    """
    scaled = _covering(native, (math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct)))
    top, left = (round((whole - part) / 2) for whole, part in zip(scaled, size, strict=True))
    return View(native, scaled, (top, left), size)


def _covering(native: Size, least: Size) -> Size:
    """Smallest size with an image's proportions that covers another; sides are rounded as in timm."""
    height, width = native
    if least[0] == least[1]:  # of a square, timm leaves it to torchvision, which cuts off
        side = least[0]
        return (side, side * width // height) if height <= width else (side * height // width, side)
    ratio = min(height / least[0], width / least[1])
    return round(height / ratio), round(width / ratio)


class Annotation(NamedTuple):
    """The label and the boxes of an image.

    Attributes:
        label: class index of the image.
        boxes: float64 [n, 4] of edges (x0, y0, x1, y1) in pixels as annotated; (0, 0, width, height) is the whole
            image. Boxes may leave the image or be empty.
        box_labels: int64 [n], class index of each box.
        size: (height, width) of the image on which the boxes were drawn; None: that of this image.
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
        counts: numbers of boxes ``clipped`` to the image, ``empty``, or ``unseen`` because cropped away; 1 for an
            image ``without`` a remaining box, and for one ``rescaled`` because its boxes refer to another size.
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
    """Clip boxes to their image, move them into a view, and count the boxes that are changed or left out.

    Example:
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
    """Give one warning with all counts of the boxes of a split."""
    lines = [f"  {text}: {counts[key]}" for key, text in _COUNTED.items() if counts[key]]
    if lines:
        title = f"boxes of the {images} images of the {split} split:"
        warnings.warn("\n".join([title, *lines]), stacklevel=2)


def _clip(boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    return boxes.clip(0, np.array([size[1], size[0], size[1], size[0]]))


def _has_area(boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """False also for a box with reversed edges or NaN."""
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))


def mirrored(sample: Sample) -> Sample:
    """A copy of a sample mirrored left to right: image, density, mask, fixations (x' = W0 − 1 − x), boxes (x' = W − x).

    Example:
        >>> import torch
        >>> image, fixations = torch.arange(3.0).expand(3, 1, 3), torch.tensor([[0.0, 0.0]])
        >>> flipped = mirrored({"image": image, "size": (1, 3), "fixations": fixations})
        >>> flipped["image"][0], flipped["fixations"]
        (tensor([[2., 1., 0.]]), tensor([[2., 0.]]))
    """
    result = {**sample, "mirrored": True}
    for key in ("image", "density", "mask", "items"):
        if sample.get(key) is not None:
            result[key] = sample[key].flip(-1)
    if "fixations" in sample:
        x, y = sample["fixations"].unbind(-1)
        width = sample["size"][1]
        # A point on the left edge (-0.5) belongs to pixel 0; its mirror image must belong to the last one.
        result["fixations"] = torch.stack(((width - 1 - x).clamp(max=width - 0.51), y), dim=-1)
    if "boxes" in sample:
        x0, y0, x1, y1 = sample["boxes"].unbind(-1)
        width = sample["image"].shape[-1]
        result["boxes"] = torch.stack((width - x1, y0, width - x0, y1), dim=-1)
    return result
