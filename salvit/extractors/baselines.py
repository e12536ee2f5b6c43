"""Baselines that do not look at the model: chance, and the centre of the image."""

import hashlib
import math

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, register_method
from salvit.extractors.requirements import check_seed
from salvit.vit import ViT, patch_grid

_NARROWEST = 1e-9


@register_method("random")
class RandomMap(Extractor):
    """Uniform noise in [0, 1) on the patch grid; it depends on the seed and the image only.

    Args:
        seed: seed of the noise.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RandomMap(seed=1)(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    requires = frozenset()

    def __init__(self, seed: int = 0) -> None:
        check_seed(seed)
        self.seed = seed

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        height, width = patch_grid(vit, images)
        dtype = torch.promote_types(images.dtype, torch.float32)
        generator, maps = torch.Generator(), []
        for image in images.detach().float().cpu() + 0.0:  # so that zeros have one sign
            content = image.contiguous().numpy().tobytes()
            digest = hashlib.blake2b(content, digest_size=7, key=str(self.seed).encode()).digest()
            generator.manual_seed(int.from_bytes(digest, "big"))
            # Of float32 whatever torch's default is.
            maps.append(torch.rand(1, height, width, generator=generator, dtype=torch.float32, device="cpu"))
        return torch.stack(maps).to(images.device, dtype)


@register_method("center_prior")
class CenterPrior(Extractor):
    """A Gaussian around the image's centre, stretched to its sides, that sums to 1.

    Source: the "Center" baseline of Judd, Durand and Torralba, "A Benchmark of Computational Models of Saliency to
    Predict Human Fixations", MIT technical report, 2012.

    Args:
        sigma: standard deviation as a share of each side, at least 1e-9.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> CenterPrior(sigma=0.3)(vit, torch.rand(1, 3, 32, 48))
        tensor([[[[0.1297, 0.2405, 0.1297],
                  [0.1297, 0.2405, 0.1297]]]])
    """

    requires = frozenset()

    def __init__(self, sigma: float = 0.25) -> None:
        if not _NARROWEST <= sigma < math.inf:
            raise InvalidValueError(
                f"sigma must be {_NARROWEST} or more, as a share of the image's sides; got {sigma}"
            )
        self.sigma = sigma

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        dtype = torch.promote_types(images.dtype, torch.float32)
        profiles = []
        for size in patch_grid(vit, images):
            centres = (torch.arange(size, dtype=torch.float64, device="cpu") + 0.5) / size
            squares = (centres.to(images.device, dtype) - 0.5) ** 2
            # Not exp over its sum, which for a narrow Gaussian between two patches is 0/0.
            profiles.append((-squares / (2 * self.sigma**2)).softmax(dim=0))
        rows, columns = profiles
        return torch.outer(rows, columns).expand(len(images), 1, -1, -1).clone()
