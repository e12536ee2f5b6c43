"""A saliency map without any training: thresholded, smoothed attention."""

import math

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.recording import read_attention
from salvit.extractors.registry import register_method
from salvit.extractors.rows import Rows, check_rows, rows_of
from salvit.vit import ViT


@register_method("unsupervised_map")
class UnsupervisedMap(Extractor):
    """The strongest attention of the row that the classifier reads as discrete fixations, smoothed into a density.

    Of the heads' mean attention to the patches the strongest patches are kept that together hold at least
    `mass` of it; each becomes one fixation, and a Gaussian makes them a density that sums to 1. Meant for a
    self-supervised model such as `vit_base_patch16_224.dino`.

    Source: Djilali, McGuinness and O'Connor, "Vision Transformers are Inherently Saliency Learners", 2023,
    section 5.2, with the threshold λ = 0.9 read as in Caron et al., "Emerging Properties in Self-Supervised
    Vision Transformers", ICCV 2021, section 4.2.2, as the share of the mass that is kept. The source does not
    state σ.

    Args:
        mass: λ, the share of attention that is kept, in (0, 1].
        sigma: standard deviation of the Gaussian, in patches.
        block: block index, negative ones counting from the last.
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.

    Raises:
        ValueError: if `mass` or `sigma` is out of range, or `rows` not one of those above.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> UnsupervisedMap()(vit, torch.rand(4, 3, 32, 48)).sum((1, 2, 3))
        tensor([1., 1., 1., 1.])
    """

    def __init__(self, mass: float = 0.9, sigma: float = 1.0, block: int = -1, rows: Rows = "auto") -> None:
        check_rows(rows)
        if not 0 < mass <= 1:
            raise InvalidValueError(f"mass must be in (0, 1]; got {mass}")
        if not 0 < sigma < math.inf:
            raise InvalidValueError(f"sigma must be positive and finite, in patches; got {sigma}")
        self.mass = mass
        self.sigma = sigma
        self.block = block
        self.rows = rows

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        rows = rows_of(vit, self.rows)
        [attention] = read_attention(
            vit, images, [self.block], rows="class" if rows == slice(0, 1) else "all"
        )
        grid = patches_to_grid(vit, images, attention[:, :, rows].mean(dim=(1, 2))[:, None])
        fixations = heaviest(grid.flatten(1), self.mass).view_as(grid)
        density = smooth(fixations.to(grid.dtype), self.sigma)
        return density / density.sum(dim=(2, 3), keepdim=True)


def heaviest(weights: Tensor, mass: float) -> Tensor:
    """Return which entries, taken from the largest down, are needed to hold a share of the total.

    Args:
        weights: [B, n], non-negative.
        mass: the share, in (0, 1].

    Returns:
        bool [B, n], the largest entry of each row included unless all are 0.

    Example:
        >>> heaviest(torch.tensor([[1.0, 5.0, 3.0, 1.0]]), 0.6)
        tensor([[False,  True,  True, False]])
    """
    ranked, order = weights.sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(dim=-1) - ranked
    return torch.zeros_like(order, dtype=torch.bool).scatter(
        -1, order, before < mass * ranked.sum(dim=-1, keepdim=True)
    )


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Return maps convolved with a Gaussian, with zeros beyond their borders.

    Args:
        maps: float [..., h, w].
        sigma: standard deviation in pixels of the maps.

    Returns:
        [..., h, w], not normalised: the kernel is 1 at its centre.

    Example:
        >>> smooth(torch.tensor([[0.0, 1.0]]), sigma=1.0)
        tensor([[0.6065, 1.0000]])
    """
    rows, columns = (_gaussian(size, sigma, maps) for size in maps.shape[-2:])
    with torch.autocast(maps.device.type, enabled=False):
        return rows @ maps @ columns


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    position = torch.arange(size, dtype=like.dtype, device=like.device)
    return torch.exp(-(((position[:, None] - position) / sigma) ** 2) / 2)
