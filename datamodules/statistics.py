"""Statistics over the fixations of a whole split."""

import torch
from torch import Tensor

from datamodules.dataset import SaliencyDataset, Size
from datamodules.progress import track
from salvit.metrics import functional
from salvit.resize import resize_antialiased


def fixation_counts(dataset: SaliencyDataset, shape: Size) -> Tensor:
    """Count the fixations of all images, rescaled as points, never as maps.

    Args:
        dataset: whose fixations to count; no image is decoded.
        shape: (height, width) of the count map.

    Returns:
        int64 [H, W], with multiplicity: its sum is the number of fixations of the dataset.
    """
    indices = range(len(dataset))
    fixations = [dataset.fixations(index) for index in track(indices, "counting fixations", len(dataset))]
    return functional.fixation_counts(fixations, [dataset.size(index) for index in indices], shape)


def _resized(density: Tensor, shape: Size) -> Tensor:
    if density.shape == shape:
        return density
    return resize_antialiased(density[None, None], shape)[0, 0]


def mean_density(dataset: SaliencyDataset, shape: Size) -> Tensor:
    """Average the densities of all images: the center prior of a dataset.

    Args:
        dataset: whose densities to average; no image is decoded. Images without fixations do not count.
        shape: (height, width) of the result; densities are resized to it (antialiased bilinear).

    Returns:
        float32 [H, W], non-negative, sums to 1.

    Raises:
        ValueError: if no image has a fixation.
    """
    total = torch.zeros(shape, dtype=torch.float64)
    for index in track(range(len(dataset)), "averaging densities", len(dataset)):
        density = _resized(dataset.density(index), shape).double()
        if density.any():
            total += density / density.sum()
    if not total.any():
        raise ValueError("no image of the dataset has a fixation: there is no mean density.")
    return (total / total.sum()).float()
