"""SmoothGrad: the gradient of the pixels, averaged over noisy copies of the image."""

import math

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, register_method
from salvit.extractors.gradients import pixel_gradient
from salvit.extractors.requirements import check_seed
from salvit.vit import ViT


@register_method("smoothgrad")
class SmoothGrad(Extractor):
    """The largest |mean over noisy images of ∂y/∂x| over the channels of each pixel x, [B, 1, H, W].

    y is the target logit. A noisy image is x + ε, ε of a normal distribution with the standard deviation `noise` ·
    (max x − min x). The deviation is of each image, the draws are the same for all images. Costs a forward and a
    backward pass for each sample.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017, section 3; the absolute value after the
    mean, and the largest over the channels, as Simonyan et al. (2013) and our `input_gradient`.

    Args:
        samples: number of noisy images.
        noise: standard deviation as a share of the image's range, at least 0; the source takes 0.1 to 0.2.
        seed: seed of the noise.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> SmoothGrad(samples=4)(vit, torch.rand(2, 3, 32, 48), target=7).shape
        torch.Size([2, 1, 32, 48])
    """

    class_specific = True
    requires = frozenset()

    def __init__(self, samples: int = 25, noise: float = 0.15, seed: int = 0) -> None:
        if samples < 1:
            raise InvalidValueError(f"samples must be at least 1; got {samples}")
        if not 0 <= noise < math.inf:
            raise InvalidValueError(f"noise must be 0 or more, as a share of the image's range; got {noise}")
        check_seed(seed)
        self.samples = samples
        self.noise = noise
        self.seed = seed

    def forward_passes(self, vit: ViT) -> int:
        """Return the number of noisy images."""
        return self.samples

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        classes = vit(images).argmax(dim=-1) if target is None else target
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        generator = torch.Generator().manual_seed(self.seed)
        total = torch.zeros_like(images, dtype=torch.promote_types(images.dtype, torch.float32))
        for _ in range(self.samples):
            # On the CPU and in float64, so that the noise is the same on every device and in every precision.
            drawn = torch.randn(images.shape[1:], generator=generator, dtype=torch.float64, device="cpu")
            noisy = images + self.noise * (high - low) * drawn.to(images.device, images.dtype)
            total += pixel_gradient(vit, noisy, classes)
        return (total / self.samples).abs().amax(dim=1, keepdim=True)
