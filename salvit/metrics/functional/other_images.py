"""Fixations of a whole set of images, from which those on other images are drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.draws import distinct, image_key
from salvit.metrics.functional.fixations import Size, fixation_indices


class OtherImages:
    """Fixations of all images of a set: what is drawn from by a metric that samples other images.

    Images are recognised by their fixations, so that it does not matter in which batch or process one is scored;
    images with the very same fixations are never each other's others. Kept are the tensors given, not copies, and
    8 bytes an image.

    Args:
        fixations: One [n, 2] of (x, y) per image, in pixels of that image, those to be scored included.
        sizes: (H, W) of each image.

    Raises:
        ValueError: There is not one [n, 2] per image, or a point lies outside its image.

    Example:
        >>> others = OtherImages([torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 1.0]])], [(2, 3), (2, 3)])
        >>> others.pixels(np.array([0]), (2, 3), 10, np.random.default_rng(0)).tolist()
        [5]
    """

    def __init__(self, fixations: Sequence[Tensor], sizes: Sequence[Size]) -> None:
        indices = fixation_indices(fixations, sizes)
        looked_at = [image for image, index in enumerate(indices) if len(index)]
        self._fixations = [fixations[image] for image in looked_at]
        self._sizes = [sizes[image] for image in looked_at]
        self._keys = np.array(
            [image_key(indices[image].numpy(), sizes[image]) for image in looked_at], dtype=np.uint64
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "OtherImages":
        # Nothing changes it, and every metric of a table is copied once per row.
        return self

    def pixels(self, own: np.ndarray, size: Size, images: int, random: np.random.Generator) -> np.ndarray:
        """Pixels fixated on other images, drawn without replacement: the union of their fixation maps.

        Args:
            own: int64 [n], pixels under the fixations of the image scored.
            size: (H, W) of that image; points of images of other sizes are rescaled as coordinates.
            images: how many to draw of those that have fixations; all if there are fewer.
            random: to draw with.

        Returns:
            int64 [m], distinct and rising; empty if no other image has a fixation.

        Raises:
            ValueError: None of the images has the fixations of the one scored.
        """
        mine = self._keys == image_key(own, size)
        if not mine.any():
            raise InvalidValueError(
                f"the other images lack the one scored, of {size[0]}×{size[1]} (H×W) with {len(own)} fixations; "
                "expected OtherImages of the fixations of all images at their native sizes, this image's included"
            )
        rest = np.flatnonzero(~mine)
        drawn = random.choice(rest, min(images, len(rest)), replace=False)
        points = fixation_indices(
            [self._fixations[image] for image in drawn], [self._sizes[image] for image in drawn], size
        )
        return distinct(torch.cat([torch.empty(0, dtype=torch.int64), *points]).numpy())
