"""Losses between predicted saliency and ground-truth density."""

import math

import torch
from torch import Tensor, nn

from salvit.errors import InvalidValueError
from salvit.metrics.functional.maps import EPS


class SaliencyLoss(nn.Module):
    """Weighted sum of KLD, −CC and −NSS, mean over the images of a batch.

    KLD is Eq. 2 of "Vision Transformers are Inherently Saliency Learners", and the default. CC is that of the metrics;
    NSS is the mean of the standardised prediction weighted by the density, in the place of fixations.

    Args:
        kld: weight of the Kullback-Leibler divergence.
        cc: weight of the negative correlation coefficient.
        nss: weight of the negative normalised scanpath saliency.

    Raises:
        ValueError: if a weight is negative or not finite, or all are 0.

    Example:
        >>> loss = SaliencyLoss()
        >>> density = torch.tensor([[[1.0, 3.0]]])
        >>> loss(density * 7, density).item() < 1e-6
        True
    """

    def __init__(self, kld: float = 1.0, cc: float = 0.0, nss: float = 0.0) -> None:
        super().__init__()
        weights = (kld, cc, nss)
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise InvalidValueError(
                f"weights must be ≥ 0, finite and not all 0; got kld={kld}, cc={cc}, nss={nss}"
            )
        self.weights = {"kld": kld, "cc": cc, "nss": nss}

    def forward(self, pred: Tensor, density: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            pred: [B, H, W], non-negative, on any scale.
            density: [B, H, W], non-negative; images whose density is all zero do not count.

        Returns:
            A scalar; 0, with zero gradient, if no image counts.

        Raises:
            ValueError: if the shapes differ.
        """
        if pred.shape != density.shape:
            raise InvalidValueError(f"pred is {list(pred.shape)} but density {list(density.shape)}")
        # Under autocast the sums over a whole image would lose the small values that KLD depends on.
        with torch.autocast(pred.device.type, enabled=False):
            dtype = torch.promote_types(pred.dtype, torch.float32)
            p, g = pred.to(dtype).flatten(1), density.to(dtype).flatten(1)
            seen = g.sum(1) > 0
            losses = torch.stack(
                [weight * _TERMS[name](p, g) for name, weight in self.weights.items() if weight]
            )
            return torch.where(seen, losses.sum(0), 0).sum() / seen.sum().clamp_min(1)

    def extra_repr(self) -> str:
        """The weights, for the module's printed form."""
        return ", ".join(f"{name}={weight}" for name, weight in self.weights.items())


def _distribution(maps: Tensor) -> Tensor:
    """Divide by the sum; a map without mass is uniform, as in the metrics, and gets no gradient."""
    total = maps.sum(1, keepdim=True)
    return torch.where(total > 0, maps / torch.where(total > 0, total, 1), 1 / maps.shape[1])


def _standardised(maps: Tensor) -> Tensor:
    centred = maps - maps.mean(1, keepdim=True)
    # A constant map has no direction: the floor keeps its gradient finite.
    return centred / centred.square().mean(1, keepdim=True).add(1e-12).sqrt()


def _kld(pred: Tensor, density: Tensor) -> Tensor:
    p, g = _distribution(pred), _distribution(density)
    return (g * torch.log(EPS + g / (p + EPS))).sum(1)


def _negative_cc(pred: Tensor, density: Tensor) -> Tensor:
    s, g = (_standardised(_distribution(maps) * maps.shape[1]) for maps in (pred, density))
    return -(s * g).mean(1)


def _negative_nss(pred: Tensor, density: Tensor) -> Tensor:
    return -(_standardised(_distribution(pred) * pred.shape[1]) * _distribution(density)).sum(1)


_TERMS = {"kld": _kld, "cc": _negative_cc, "nss": _negative_nss}
