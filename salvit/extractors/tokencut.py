"""TokenCut: the object as one side of a normalised cut through the graph of the patches."""

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, register_method
from salvit.extractors.keys import component, patch_keys
from salvit.vit import ViT, patch_grid

_APART = 1e-5  # ε of the source: the weight of an edge between unlike patches
_EQUAL = 1e-4  # patches with the same edges have the same entry but for rounding


@register_method("tokencut")
class TokenCut(Extractor):
    """Second eigenvector of the normalised cut of the graph of patches, positive on the object's side.

    The edge of two patches weighs W = 1 where the cosine of their keys is at least `threshold`, else 1e-5. With
    the degrees D = diag(Σ_q W_pq), v is the eigenvector of (D − W) v = λ D v with the second smallest λ. The object is
    the side of its mean where |v| is largest; the map is ±(v − mean v). Meant for a self-supervised model, which need
    not have a class token.

    With `mask` the map is 1 on the object's patches that are connected with the one where |v| is largest (of several
    that are equal up to 1e-4 of it, the upper left one), else 0. The source draws a box around them; MaxBoxAcc of
    `salvit.metrics.BoxSweep` on such maps is CorLoc.

    Source: Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR
    2022, section 3, on the keys of the last block.

    Args:
        threshold: τ, of the cosine, in (-1, 1).
        mask: give the object as a mask.
        block: block index, negative ones counting from the last.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> TokenCut()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, threshold: float = 0.2, mask: bool = False, block: int = -1) -> None:
        if not -1 < threshold < 1:
            raise InvalidValueError(f"threshold must be between -1 and 1; got {threshold}")
        self.threshold = threshold
        self.mask = mask
        self.block = block

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        vector = second_eigenvector(patch_keys(vit, images, self.block), self.threshold)
        seed = _first_of_the_largest(vector.abs())
        vector = vector - vector.mean(dim=1, keepdim=True)
        vector = vector * vector.gather(1, seed[:, None]).sign()
        grid = vector.unflatten(1, patch_grid(vit, images))
        found = component(grid > 0, seed).to(grid.dtype) if self.mask else grid
        return found[:, None]


def second_eigenvector(features: Tensor, threshold: float) -> Tensor:
    """Return v of each image, [B, n], of unit length in the metric D, from its patches' features [B, n, D].

    Example:
        >>> two_and_three = torch.tensor([[[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 3])
        >>> side = second_eigenvector(two_and_three, 0.2)[0] > 0
        >>> bool(side[0] == side[1] != side[2] == side[3] == side[4])
        True
    """
    # Under autocast a product would be rounded, and could cross the threshold.
    with torch.autocast(features.device.type, enabled=False):
        units = features / features.norm(dim=2, keepdim=True)
        weights = torch.where(units @ units.mT >= threshold, 1.0, _APART).to(features.dtype)
        scale = weights.sum(dim=2).rsqrt()
        # With z = √D v this is symmetric; its largest eigenvalues are the smallest of I − it.
        affinity = scale[:, :, None] * weights * scale[:, None]
        _, vectors = torch.linalg.eigh(affinity)
    return vectors[:, :, -2] * scale


def _first_of_the_largest(values: Tensor) -> Tensor:
    """Position in each row [B, n] of the first value that is largest up to rounding, [B]."""
    largest = values >= (1 - _EQUAL) * values.amax(dim=1, keepdim=True)
    return largest.int().sort(dim=1, descending=True, stable=True).indices[:, 0]
