"""Integrated gradients: the gradient of the pixels, averaged along a path from no image to the image."""

import numpy as np
import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, register_method
from salvit.extractors.gradients import pixel_gradient
from salvit.vit import ViT


@register_method("integrated_gradients")
class IntegratedGradients(Extractor):
    """Σ over channels of x ⊙ ∫₀¹ ∂y/∂x(αx) dα for each pixel x of the normalised image, [B, 1, H, W].

    y is the target logit. The path begins at zeros, the colour that the normalisation of the model subtracts. The
    integral is taken by Gauss–Legendre quadrature, so the sum of a map is y(x) − y(0) but for its error. Costs a
    forward and a backward pass for each step.

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, section 3; the quadrature
    is the default of the captum package.

    Args:
        steps: points of the path at which the gradient is taken.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> IntegratedGradients(steps=4)(vit, torch.rand(2, 3, 32, 48), target=7).shape
        torch.Size([2, 1, 32, 48])
    """

    class_specific = True
    requires = frozenset()

    def __init__(self, steps: int = 50) -> None:
        if steps < 1:
            raise InvalidValueError(f"steps must be at least 1; got {steps}")
        self.steps = steps

    def forward_passes(self, vit: ViT) -> int:
        """Return the number of steps."""
        return self.steps

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        classes = vit(images).argmax(dim=-1) if target is None else target
        gradient = path_gradient(vit, images, classes, self.steps, torch.zeros_like(images))
        return (images * gradient).sum(dim=1, keepdim=True)


def path_gradient(vit: ViT, images: Tensor, target: Tensor, steps: int, start: Tensor) -> Tensor:
    """Mean gradient of the target logits along the path from `start` to the images, in float32 at least.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B].
        steps: points of the Gauss–Legendre quadrature.
        start: [B, 3, H, W], where the path begins.

    Returns:
        [B, 3, H, W].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> images = torch.rand(2, 3, 32, 32)
        >>> path_gradient(vit, images, torch.tensor([1, 2]), 3, torch.zeros_like(images)).shape
        torch.Size([2, 3, 32, 32])
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(images, dtype=torch.promote_types(images.dtype, torch.float32))
    for point, weight in zip((1 + points) / 2, weights / 2, strict=True):
        total += float(weight) * pixel_gradient(vit, start + float(point) * (images - start), target)
    return total
