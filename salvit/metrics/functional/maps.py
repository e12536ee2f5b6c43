"""Checking saliency maps and bringing them to a common scale, in float64."""

import torch
from torch import Tensor

from salvit.errors import InvalidValueError

EPS = 2.2204e-16
"""The MIT benchmark's regulariser (MATLAB's eps), used by every metric that has one."""


def check_maps(maps: Tensor, name: str) -> Tensor:
    """Return a batch of maps that can be scored, or say which one cannot.

    Args:
        maps: [B, H, W], any real dtype.
        name: The argument's name, for the message.

    Returns:
        The same values, detached, on a device that can compute in float64.

    Raises:
        ValueError: The shape is not [B, H, W] with H, W ≥ 1, or a map holds NaN, infinity, or values
            further apart than float64 can say.

    Example:
        >>> check_maps(torch.rand(2, 4, 5), "pred").shape
        torch.Size([2, 4, 5])
    """
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise InvalidValueError(
            f"{name} has shape {tuple(maps.shape)}; expected [B, H, W]: drop a channel axis, add a batch axis"
        )
    # Apple GPUs have no float64, which KLD's eps and the sums over all pixels need.
    maps = maps.detach().cpu() if maps.device.type == "mps" else maps.detach()
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    bad = (high.double() - low.double()).isfinite().logical_not().nonzero().flatten().tolist()
    if bad:
        raise InvalidValueError(
            f"{name}: image {bad[0]} of the batch has NaN, infinite or overflowing values; expected finite "
            "ones: look for a diverged model or a division by zero before the metric"
        )
    return maps


def check_map_pair(pred: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
    """Check predictions and ground-truth densities that are to be compared pixel by pixel.

    Args:
        pred: [B, H, W].
        density: [B, H, W].

    Returns:
        Both as float64 on `pred`'s device, pixels flattened: two [B, H·W].

    Raises:
        ValueError: Either cannot be scored (see `check_maps`), or their shapes differ.

    Example:
        >>> pred, density = check_map_pair(torch.rand(2, 4, 5), torch.rand(2, 4, 5))
        >>> pred.shape, density.dtype
        (torch.Size([2, 20]), torch.float64)
    """
    if pred.shape != density.shape:
        raise InvalidValueError(
            f"pred has shape {tuple(pred.shape)} but density {tuple(density.shape)}; expected the same "
            "[B, H, W]: resize the prediction to the density's size (bilinear), not the other way round"
        )
    pred, density = check_maps(pred, "pred"), check_maps(density, "density")
    return pred.double().flatten(1), density.to(pred.device).double().flatten(1)


def minmax_normalize(maps: Tensor) -> Tensor:
    """Bring each map to the range [0, 1]; a constant map becomes exactly 0.

    Args:
        maps: [B, N] floats, finite.

    Returns:
        [B, N], each row spanning [0, 1].

    Example:
        >>> minmax_normalize(torch.tensor([[1.0, 2.0, 3.0], [0.1, 0.1, 0.1]]))
        tensor([[0.0000, 0.5000, 1.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    span = high - low
    return (maps - low) / torch.where(span > 0, span, 1)


def sum_normalize(maps: Tensor) -> Tensor:
    """Turn each map into a probability distribution over its pixels.

    A map that goes below 0 is first shifted so that its minimum is 0; a map without mass becomes uniform.

    Args:
        maps: [B, N] floats, finite.

    Returns:
        [B, N], each row non-negative with sum 1.

    Example:
        >>> sum_normalize(torch.tensor([[1.0, 3.0], [-1.0, 1.0], [0.0, 0.0]]))
        tensor([[0.2500, 0.7500],
                [0.0000, 1.0000],
                [0.5000, 0.5000]])
    """
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    shift = low.clamp(max=0)
    peak = high - shift
    # By the peak first: the sum of very large values would overflow, that of very small ones lose digits.
    mass = torch.where(peak > 0, (maps - shift) / torch.where(peak > 0, peak, 1), 1)
    return mass / mass.sum(1, keepdim=True)
