"""XRAI: image regions, ranked by their integrated gradients."""

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from salvit.errors import MissingExtraError
from salvit.extractors.base import register_method
from salvit.extractors.integrated_gradients import IntegratedGradients, path_gradient
from salvit.vit import ViT

_SCALES = (50, 100, 150, 250, 500, 1200)
_SIGMA, _SMALLEST = 0.8, 150  # of Felzenszwalb's segmentation
_SIDE = 224  # of the image that is segmented: the scales are meant for it
_RADIUS = 5  # in pixels of the image, by which regions are grown
_NEW = 50  # pixels that a region must add


@register_method("xrai")
class XRAI(IntegratedGradients):
    """Mean attribution of the region that first covers a pixel, regions taken best first: [B, 1, H, W].

    The attribution of a pixel x is the largest over the channels of (x − b) ⊙ ∫₀¹ ∂y/∂x(b + α(x − b)) dα, the mean over
    two images b of one value, the image's smallest and its largest; y is the target logit. Regions are those of
    Felzenszwalb's segmentation at six scales, grown by 5 pixels, so they overlap. First the region with the largest
    mean attribution is taken, then repeatedly the one whose new pixels, at least 50, have the largest mean. The
    remaining pixels get their mean. Costs two forward and backward passes for each step, and seconds of CPU time for
    each image. Needs scikit-image, the extra `regions`.

    Source: Kapishnikov et al., "XRAI: Better Attributions Through Regions", ICCV 2019, algorithm 1; the segmentation,
    the largest over the channels and the 50 pixels as in the authors' package saliency.

    Args:
        steps: points of either path at which the gradient is taken.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> XRAI(steps=2)(vit, torch.rand(2, 3, 32, 48), target=7).shape  # doctest: +SKIP
        torch.Size([2, 1, 32, 48])
    """

    def check(self, vit: ViT) -> None:
        """Raise, before anything is computed, if scikit-image is missing or the model does not support the method."""
        if find_spec("skimage") is None:
            raise MissingExtraError(
                f"{self} needs scikit-image, which is not installed: pip install 'salvit[regions]'",
                name="skimage",
            )
        super().check(vit)

    def forward_passes(self, vit: ViT) -> int:
        """Return two for each step."""
        return 2 * super().forward_passes(vit)

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        classes = vit(images).argmax(dim=-1) if target is None else target
        parts = []
        for extreme in (images.amin, images.amax):
            start = extreme((1, 2, 3), keepdim=True).expand_as(images)
            parts.append((images - start) * path_gradient(vit, images, classes, self.steps, start))
        attribution = torch.stack(parts).mean(dim=0).amax(dim=1)
        pictures = images.double().movedim(1, -1).cpu().numpy()
        pairs = zip(attribution.double().cpu().numpy(), pictures, strict=True)
        maps = np.stack([rank(values, regions(picture)) for values, picture in pairs])
        return torch.from_numpy(maps).to(attribution)[:, None]


def regions(picture: np.ndarray) -> np.ndarray:
    """Overlapping regions of a picture [H, W, channels] of any range, bool [n, H, W]; every pixel is in six or more."""
    from skimage.morphology import isotropic_dilation
    from skimage.segmentation import felzenszwalb
    from skimage.transform import resize

    low, high = picture.min(), picture.max()
    stretched = 2 * (picture - low) / max(high - low, np.finfo(np.float64).tiny) - 1
    options = {"mode": "constant", "preserve_range": True}
    small = resize(stretched, (_SIDE, _SIDE), order=3, anti_aliasing=True, **options)
    found = []
    for scale in _SCALES:
        labels = felzenszwalb(small, scale=scale, sigma=_SIGMA, min_size=_SMALLEST)
        labels = resize(labels, picture.shape[:2], order=0, anti_aliasing=False, **options).astype(int)
        found += [isotropic_dilation(labels == label, _RADIUS) for label in np.unique(labels)]
    return np.stack(found)


def rank(attribution: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Take regions best first, and give the pixels that each adds their mean attribution.

    Args:
        attribution: [H, W].
        masks: regions that may overlap, bool [n, H, W].

    Returns:
        [H, W], with the sum of the attribution.

    Example:
        >>> left, right = np.zeros((2, 8, 20), bool)
        >>> left[:, :10], right[:, 8:] = True, True
        >>> found = rank(np.tile(np.arange(20.0), (8, 1)), np.stack([left, right]))
        >>> found[0, [0, 7, 8, 19]]
        array([ 3.5,  3.5, 13.5, 13.5])
    """
    values, members = attribution.ravel(), masks.reshape(len(masks), -1)
    free, found = np.ones(values.shape, bool), np.empty(values.shape)
    sizes, sums = members.sum(1), members @ values
    while (sizes >= _NEW).any():
        means = np.where(sizes >= _NEW, sums / np.maximum(sizes, 1), -np.inf)
        best = int(means.argmax())
        new = members[best] & free
        found[new] = values[new].mean()
        free &= ~new
        sizes = sizes - members[:, new].sum(1)
        sums = sums - members[:, new] @ values[new]
    found[free] = values[free].mean() if free.any() else 0
    return found.reshape(attribution.shape)
