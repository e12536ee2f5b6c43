"""From fixation coordinates to pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.errors import InvalidValueError

Size = tuple[int, int]
"""(height, width) in pixels."""


def fixation_indices(
    fixations: Sequence[Tensor], sizes: Sequence[Size], shape: Size | None = None
) -> tuple[Tensor, ...]:
    """Row-major index of the pixel under every fixation.

    Pixel centres lie at integers, so the pixel of a point is floor(x + 0.5). With `shape`, points are first
    rescaled as coordinates, x' = (x + 0.5) · W'/W − 0.5. Coordinates are read in float32, the precision of
    the datasets.

    Args:
        fixations: One [n, 2] of (x, y) per image, in pixels of that image.
        sizes: (H, W) of each image.
        shape: (H', W') of the map to index; None for each image's own size.

    Returns:
        One int64 [n] per image, on the CPU, each in [0, H'·W').

    Raises:
        ValueError: There is not one [n, 2] per image, or a point lies outside its image.

    Example:
        >>> fixation_indices([torch.tensor([[1.4, 0.0], [0.0, 1.0]])], [(2, 3)])
        (tensor([1, 3]),)
        >>> fixation_indices([torch.tensor([[1.0, 0.0]])], [(2, 3)], shape=(4, 6))
        (tensor([9]),)
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
