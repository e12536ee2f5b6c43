"""The gradient of the target logit with respect to the pixels, and its product with them."""

import torch
from torch import Tensor

from salvit.extractors.base import Extractor
from salvit.extractors.gradients import differentiable, outside_graph, target_logits
from salvit.extractors.registry import register_method
from salvit.vit import ViT


class _OfTheInput(Extractor):
    """What the gradient and its product with the image share."""

    class_specific = True
    requires = frozenset()


@register_method("input_gradient")
class InputGradient(_OfTheInput):
    """The largest |∂y/∂x| over the channels of each pixel x, y the target logit.

    Maps are at pixel resolution [B, 1, H, W]; x is the normalised image.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2013, section 3.1.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> InputGradient()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 32, 48])
    """

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        return _input_gradient(vit, images, target).abs().amax(dim=1, keepdim=True)


@register_method("input_x_gradient")
class InputXGradient(_OfTheInput):
    """Σ over channels of x ⊙ ∂y/∂x for each pixel x, y the target logit; positive where x speaks for the class.

    Maps are at pixel resolution [B, 1, H, W]; x is the normalised image, so the sum asks what the pixel adds
    to the model's mean colour.

    Source: Shrikumar et al., "Not Just a Black Box", 2016, the gradient × input of section 3.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> InputXGradient()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 32, 48])
    """

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        return (images * _input_gradient(vit, images, target)).sum(dim=1, keepdim=True)


def _input_gradient(vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
    """Return the gradient of the target logits with respect to the images.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.

    Returns:
        [B, 3, H, W], of the images' dtype.
    """
    with differentiable():
        pixels = outside_graph(images).requires_grad_()
        [gradient] = torch.autograd.grad(target_logits(vit(pixels), target), pixels)
    return gradient
