"""Fixations as pixels, count maps and pools; random numbers of metrics that sample them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.functional.maps import check_maps

Size = tuple[int, int]
"""(height, width) in pixels."""


def fixation_indices(
    fixations: Sequence[Tensor], sizes: Sequence[Size], shape: Size | None = None
) -> tuple[Tensor, ...]:
    """Row-major index of the pixel under every fixation: one int64 [n] per image, on the CPU.

    Pixel centres lie at integers, so the pixel of a point is floor(x + 0.5). With `shape`, points are first rescaled
    as coordinates, x' = (x + 0.5) · W'/W − 0.5. Coordinates are read in float32, the precision of the datasets.

    Args:
        fixations: One [n, 2] of (x, y) per image, in pixels of that image.
        sizes: (H, W) of each image.
        shape: (H', W') of the map to index; None for the size of each image.

    Raises:
        ValueError: There is not one [n, 2] per image, or a point lies outside its image.

    Example:
        >>> fixation_indices([torch.tensor([[1.4, 0.0], [0.0, 1.0]])], [(2, 3)])
        (tensor([1, 3]),)
    """
    counts = _check_points(fixations, len(sizes))
    points = torch.cat([torch.empty(0, 2), *(points.detach().cpu().float() for points in fixations)])
    extent = _width_height(sizes).repeat_interleave(torch.tensor(counts, dtype=torch.int64), dim=0)
    edges = points.double() + 0.5
    _check_inside(points, (edges >= 0) & (edges < extent), extent, counts)
    target = extent if shape is None else _width_height([shape])
    # The product is exact in float64, so rescaling to the same size is exact too.
    columns, rows = (edges * target / extent).floor().long().unbind(1)
    width = extent[:, 0].long() if shape is None else shape[1]
    return (rows * width + columns).split(counts)


def maps_and_indices(pred: Tensor, fixations: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Predictions [B, H, W], and the indices of the pixels under the fixations of each, after all checks."""
    maps = check_maps(pred, "pred")
    return maps, fixation_indices(fixations, [(maps.shape[1], maps.shape[2])] * len(maps))


def _width_height(sizes: Sequence[Size]) -> Tensor:
    """Float64 [n, 2] of (width, height), the order of (x, y)."""
    return torch.tensor(sizes, dtype=torch.float64).reshape(-1, 2).flip(1)


def _check_points(fixations: Sequence[Tensor], images: int) -> list[int]:
    """Number of fixations of each image."""
    if len(fixations) != images:
        raise InvalidValueError(
            f"fixations has {len(fixations)} entries for {images} images; expected one [n, 2] tensor of "
            "(x, y) per image, with n = 0 for an image without fixations"
        )
    for image, points in enumerate(fixations):
        if points.ndim != 2 or points.shape[1] != 2:
            raise InvalidValueError(
                f"fixations of image {image} have shape {tuple(points.shape)}; expected [n, 2] of (x, y), "
                "and [0, 2] for none"
            )
    return [len(points) for points in fixations]


def _check_inside(points: Tensor, inside: Tensor, extent: Tensor, counts: list[int]) -> None:
    outside = inside.all(1).logical_not().nonzero().flatten()
    if len(outside) == 0:
        return
    first = outside[0]
    image = int((torch.tensor(counts).cumsum(0) <= first).sum())
    (x, y), (width, height) = points[first].tolist(), extent[first].long().tolist()
    raise InvalidValueError(
        f"fixation ({x:g}, {y:g}) of image {image} lies outside its {height}×{width} (H×W) map; expected "
        f"x in [-0.5, {width - 0.5}) and y in [-0.5, {height - 0.5}): drop the point, or rescale the "
        "fixations to the map's size with x' = (x + 0.5) · W'/W − 0.5"
    )


def fixation_counts(fixations: Sequence[Tensor], sizes: Sequence[Size], shape: Size) -> Tensor:
    """Count map of the fixations of many images, the pool of shuffled AUC.

    Points are rescaled as coordinates from the size of their image to `shape`. Counts of parts of a dataset add up to
    the counts of the whole.

    Args:
        fixations: One [n, 2] of (x, y) per image, in pixels of that image.
        sizes: (H, W) of each image.
        shape: (H', W') of the count map; the most frequent image size is a good choice.

    Returns:
        int64 [H', W'] whose sum is the number of fixations.

    Raises:
        ValueError: There is not one [n, 2] per image, or a point lies outside its image.

    Example:
        >>> fixations = [torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([[5.0, 3.0]])]
        >>> fixation_counts(fixations, sizes=[(2, 3), (4, 6)], shape=(2, 3))
        tensor([[1, 0, 0],
                [0, 0, 2]])
    """
    indices = fixation_indices(fixations, sizes, shape)
    pixels = shape[0] * shape[1]
    return torch.cat([torch.empty(0, dtype=torch.int64), *indices]).bincount(minlength=pixels).reshape(shape)


def check_pool(pool: Tensor) -> Tensor:
    """Return a count map as int64 on the CPU, which no cast to half precision can round; ValueError if it is none."""
    if pool.ndim != 2 or 0 in pool.shape:
        raise InvalidValueError(
            f"pool has shape {tuple(pool.shape)}; expected one count map [H, W] (see fixation_counts)"
        )
    counts = pool.detach().cpu()
    whole = counts.long()
    if not ((counts == whole) & (whole >= 0)).all():
        raise InvalidValueError(
            "pool holds negative, fractional or non-finite values; expected the number of fixations of every "
            "pixel, as fixation_counts gives it, not a density"
        )
    return whole


def resized_pixels(shape: Size, target: Size) -> np.ndarray:
    """For every pixel of a map, the pixel of another map that its centre falls into: int64 [H·W], row-major."""
    rows = (2 * np.arange(shape[0]) + 1) * target[0] // (2 * shape[0])
    columns = (2 * np.arange(shape[1]) + 1) * target[1] // (2 * shape[1])
    return (rows[:, None] * target[1] + columns).ravel()


def image_key(pixels: np.ndarray, size: Size) -> int:
    """A 64-bit hash of an image's size and fixated pixels, int64 [n], in any order.

    Random numbers depend on it, so that a score depends neither on the batch nor on the number of processes.
    """
    numbers = np.concatenate([np.asarray(size), np.sort(pixels)]).astype("<i8")
    return int.from_bytes(hashlib.blake2b(numbers.tobytes(), digest_size=8).digest(), "little")


def generator(seed: int, key: int) -> np.random.Generator:
    """Random numbers of one image, from the seed (ValueError if negative) and the image's key."""
    if seed < 0:
        raise InvalidValueError(f"seed is {seed}; expected a whole number ≥ 0")
    return np.random.default_rng([seed, key])


def check_sampling(splits: int, step: float) -> None:
    """Raise ValueError unless there is a split and the step between thresholds is in (0, 1]."""
    if splits < 1:
        raise InvalidValueError(f"splits is {splits}; expected at least 1")
    if not 0 < step <= 1:
        raise InvalidValueError(
            f"step is {step}; expected a distance of thresholds in (0, 1], as maps run from 0 to 1"
        )


class OtherImages:
    """Fixations of all images of a set, from which a metric draws fixations on other images.

    An image is recognised by its fixations: of two images with the same fixations, neither is an other image of the
    other. The tensors are kept, not copied.

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
        images = zip(fixations, sizes, fixation_indices(fixations, sizes), strict=True)
        looked_at = [
            (points, size, image_key(index.numpy(), size)) for points, size, index in images if len(index)
        ]
        self._images = [(points, size) for points, size, _ in looked_at]
        self._keys = np.array([key for *_, key in looked_at], dtype=np.uint64)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OtherImages":
        # Nothing changes it, and every metric of a table is copied once per row.
        return self

    def pixels(self, own: np.ndarray, size: Size, images: int, random: np.random.Generator) -> np.ndarray:
        """Pixels fixated on other images, drawn without replacement: the union of their fixation maps.

        Args:
            own: int64 [n], pixels under the fixations of the scored image.
            size: (H, W) of that image; points of images of other sizes are rescaled as coordinates.
            images: how many images with fixations to draw; all if there are fewer.
            random: the random numbers.

        Returns:
            int64 [m], distinct and rising; empty if no other image has a fixation.

        Raises:
            ValueError: No image has the fixations of the scored one.
        """
        mine = self._keys == image_key(own, size)
        if not mine.any():
            raise InvalidValueError(
                f"the other images lack the one scored, of {size[0]}×{size[1]} (H×W) with {len(own)} fixations; "
                "expected OtherImages of the fixations of all images at their native sizes, this image's included"
            )
        rest = np.flatnonzero(~mine)
        drawn = random.choice(rest, min(images, len(rest)), replace=False)
        fixations, sizes = ([self._images[image][part] for image in drawn] for part in (0, 1))
        points = fixation_indices(fixations, sizes, size)
        return np.unique(torch.cat([torch.empty(0, dtype=torch.int64), *points]).numpy())
