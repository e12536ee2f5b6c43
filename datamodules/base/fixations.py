"""Fixation points: which lie inside an image, their density, and statistics of a split."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base.dataset import SaliencyDataset, Size, track
from salvit.errors import InvalidValueError
from salvit.metrics import functional
from salvit.resize import resize_antialiased


def inside(points: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Keep the points [n, 2] of (x, y) whose pixel, floor(x + 0.5), lies in an image of (height, width).

    Points are 0-based with pixel centres at integers. Points that are not finite are dropped.

    Example:
        >>> inside(np.array([[0.0, 0.0], [3.6, 0.0], [-0.5, 2.4]]), (3, 4))
        array([[ 0. ,  0. ],
               [-0.5,  2.4]])
    """
    limit = np.array([size[1], size[0]])
    # Through float32, which is what the points end up as: 639.49999999 would round to an edge outside.
    with np.errstate(over="ignore"):
        edges = points.astype(np.float32).astype(np.float64) + 0.5
    return points[((edges >= 0) & (edges < limit)).all(axis=1)]


_STRIP = 100
"""Columns of a density that are computed at a time."""


@lru_cache(maxsize=16)
def _gaussians(length: int, sigma: float) -> Tensor:
    """Matrix [length, length]: row i is a 1 at i, blurred by a Gaussian cut at 4 σ with reflected borders."""
    from scipy.ndimage import gaussian_filter1d

    return torch.from_numpy(gaussian_filter1d(np.eye(length), sigma, axis=1, mode="reflect", truncate=4.0))


def fixation_density(fixations: Tensor, size: Size, sigma: float) -> Tensor:
    """Gaussian blur of the binary fixation map, as the SALICON toolkit and MIT compute it.

    Equal to ``scipy.ndimage.gaussian_filter(binary_map, sigma, mode="reflect")`` divided by its sum, but computed
    as a sum of outer products over the fixated pixels.

    Args:
        fixations: [n, 2] of (x, y) in pixels, inside the image.
        size: (height, width) of the image.
        sigma: standard deviation in pixels: 19 for SALICON, 24 (1° of visual angle) for OSIE.

    Returns:
        float32 [H, W], non-negative, sums to 1; all zero without fixations.

    Raises:
        ValueError: if ``sigma`` is not positive.

    Example:
        >>> density = fixation_density(torch.tensor([[4.0, 2.0], [4.0, 2.0]]), (5, 9), sigma=1.0)
        >>> density.shape, round(density.sum().item(), 5), divmod(density.argmax().item(), 9)
        (torch.Size([5, 9]), 1.0, (2, 4))
    """
    if not sigma > 0:
        raise InvalidValueError(f"sigma must be positive, not {sigma}.")
    column, row = (fixations.double() + 0.5).floor().long().unique(dim=0).T.contiguous()
    rows, columns = _gaussians(size[0], sigma)[row].T, _gaussians(size[1], sigma)[column]
    # A strip of the map needs only the fixations near it, and these lie side by side: they are sorted by column.
    reach, strips = int(4 * sigma + 0.5), []
    for left in range(0, size[1], _STRIP):
        ends = torch.tensor([left - reach, left + _STRIP + reach])
        near = slice(*torch.searchsorted(column, ends).tolist())
        strips.append((rows[:, near] @ columns[near, left : left + _STRIP]).div_(max(len(row), 1)).float())
    return torch.cat(strips, dim=1)


def fixation_counts(dataset: SaliencyDataset, shape: Size) -> Tensor:
    """Count the fixations of all images on a map of (height, width), rescaled as points: int64 [H, W].

    No image is decoded. Repeated fixations all count, so that the sum is the number of fixations.
    """
    indices = range(len(dataset))
    fixations = [dataset.fixations(index) for index in track(indices, "counting fixations", len(dataset))]
    return functional.fixation_counts(fixations, [dataset.size(index) for index in indices], shape)


def mean_density(dataset: SaliencyDataset, shape: Size) -> Tensor:
    """Mean density of all images with fixations: the center prior of a dataset.

    Densities are resized to ``shape`` (antialiased bilinear). No image is decoded.

    Returns:
        float32 [H, W], non-negative, sums to 1.

    Raises:
        ValueError: if no image has a fixation.
    """
    total = torch.zeros(shape, dtype=torch.float64)
    for index in track(range(len(dataset)), "averaging densities", len(dataset)):
        density = dataset.density(index)
        if density.shape != shape:
            density = resize_antialiased(density[None, None], shape)[0, 0]
        if density.any():
            total += density.double() / density.double().sum()
    if not total.any():
        raise InvalidValueError("no image of the dataset has a fixation: there is no mean density.")
    return (total / total.sum()).float()
