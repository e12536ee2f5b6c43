"""Checking saliency maps and bringing them to a common scale, in float64."""

import torch
from torch import Tensor

from salvit.errors import InvalidValueError

EPS = 2.2204e-16
"""The MIT benchmark's regulariser (MATLAB's eps), used by every metric that has one."""


def check_maps(maps: Tensor, name: str) -> Tensor:
    """Return maps detached, on a device that can compute in float64; `name` is for the message.

    Raises:
        ValueError: The shape is not [B, H, W] with H, W ≥ 1, a map holds NaN or infinity, or its range overflows.
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
    """Return predictions and densities, both [B, H, W], as float64 [B, H·W] on `pred`'s device.

    Raises:
        ValueError: Either is wrong (see `check_maps`), or their shapes differ.
    """
    if pred.shape != density.shape:
        raise InvalidValueError(
            f"pred has shape {tuple(pred.shape)} but density {tuple(density.shape)}; expected the same "
            "[B, H, W]: resize the prediction to the density's size (bilinear), not the other way round"
        )
    pred, density = check_maps(pred, "pred"), check_maps(density, "density")
    return pred.double().flatten(1), density.to(pred.device).double().flatten(1)


def minmax_normalize(maps: Tensor) -> Tensor:
    """Bring each map [B, N] to the range [0, 1]; a constant map becomes exactly 0.

    Example:
        >>> minmax_normalize(torch.tensor([[1.0, 2.0, 3.0], [0.1, 0.1, 0.1]]))
        tensor([[0.0000, 0.5000, 1.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    span = high - low
    return (maps - low) / torch.where(span > 0, span, 1)


def sum_normalize(maps: Tensor) -> Tensor:
    """Turn each map [B, N] into a probability distribution over its pixels.

    A map that goes below 0 is first shifted so that its minimum is 0; a map without mass becomes uniform.

    Example:
        >>> sum_normalize(torch.tensor([[1.0, 3.0], [-1.0, 1.0], [0.0, 0.0]]))
        tensor([[0.2500, 0.7500],
                [0.0000, 1.0000],
                [0.5000, 0.5000]])
    """
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    shift = low.clamp(max=0)
    peak = high - shift
    # First divided by the peak: the sum of very large values would overflow, and of very small ones lose digits.
    mass = torch.where(peak > 0, (maps - shift) / torch.where(peak > 0, peak, 1), 1)
    return mass / mass.sum(1, keepdim=True)
