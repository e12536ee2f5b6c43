"""Attention as the model computed it."""

import math

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.recording import read_attention
from salvit.extractors.rows import Blocks, Rows, blocks_of, check_blocks, check_rows, rows_of
from salvit.vit import ViT, num_heads


@register_method("raw_attention")
class RawAttention(Extractor):
    """Attention to each patch in the row that the classifier reads, of one block or of several.

    A map is the mean attention from the tokens that the classifier reads to each patch p: that of the class token,
    A[0, p], or of the patches q, (1/hw) Σ_q A[q, p]. Attention to prefix tokens is dropped: a map sums to at most 1.

    Source: the raw-attention baseline of Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention
    Visualization", CVPR 2021.

    Args:
        block: block index; a list of them, or "all", puts the blocks' maps one after the other along K.
        rows: see `salvit.extractors.rows.Rows`.
        per_head: one map per head instead of their mean.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RawAttention(per_head=True)(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 3, 2, 3])
    """

    def __init__(self, block: Blocks = -1, rows: Rows = "auto", per_head: bool = False) -> None:
        check_rows(rows)
        check_blocks(block)
        self.block = block
        self.rows = rows
        self.per_head = per_head

    def num_channels(self, vit: ViT) -> int:
        """Return the number of blocks, or of all their heads if `per_head`."""
        return sum(num_heads(vit, block) if self.per_head else 1 for block in blocks_of(vit, self.block))

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        found = [block.mean(2) for block in _to_patches(vit, images, blocks_of(vit, self.block), self.rows)]
        return torch.cat(found if self.per_head else [one.mean(1, keepdim=True) for one in found], dim=1)


def _to_patches(vit: ViT, images: Tensor, blocks: list[int], rows: Rows) -> list[Tensor]:
    """Attention of the rows that are read to the patches, by block: [B, heads, rows, h, w]."""
    read = rows_of(vit, rows)
    attention = read_attention(vit, images, blocks, rows="class" if read == slice(0, 1) else "all")
    return [patches_to_grid(vit, images, block[:, :, read]) for block in attention]


@register_method("unsupervised_map")
class UnsupervisedMap(Extractor):
    """The patches that the classifier's row attends to most, taken as fixations and smoothed into a density.

    From the mean attention over the heads, the strongest patches are kept until they hold at least `mass` of the total.
    Each becomes one fixation; a Gaussian turns them into a density that sums to 1. Meant for a self-supervised model.

    Source: Djilali, McGuinness and O'Connor, "Vision Transformers are Inherently Saliency Learners", 2023, section
    5.2, with the threshold λ = 0.9 read as in Caron et al., "Emerging Properties in Self-Supervised Vision
    Transformers", ICCV 2021, section 4.2.2. The source does not state σ.

    Args:
        mass: λ, the share of attention that is kept, in (0, 1].
        sigma: standard deviation of the Gaussian, in patches.
        block: block index.
        rows: see `salvit.extractors.rows.Rows`.

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
        [attention] = _to_patches(vit, images, [self.block], self.rows)
        grid = attention.mean(dim=(1, 2))[:, None]
        fixations = heaviest(grid.flatten(1), self.mass).view_as(grid)
        density = smooth(fixations.to(grid.dtype), self.sigma)
        return density / density.sum(dim=(2, 3), keepdim=True)


def heaviest(weights: Tensor, mass: float) -> Tensor:
    """Return which entries of each row [B, n], taken from the largest down, are needed to hold a share of its total.

    Args:
        weights: [B, n], non-negative.
        mass: the share, in (0, 1].

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
    """Return maps convolved with a Gaussian that is 1 at its centre, with zeros beyond their borders.

    Args:
        maps: float [..., h, w].
        sigma: standard deviation in pixels of the maps.

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
