"""Salient Attention: the attention of the locations that a tensor decomposition finds informative."""

import math
from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.cp import CPDecomposition, cp_als
from salvit.extractors.recording import read_attention
from salvit.extractors.requirements import check_choice, check_seed
from salvit.extractors.rows import Blocks, blocks_of, check_blocks
from salvit.vit import ViT, num_heads, num_prefix_tokens

Select = Literal["locations", "distinct", "components"]
Heads = Literal["mean", "weighted", "each"]
Order = Literal["weight", "position", "value"]


@register_method("salient_attention")
class SalientAttention(Extractor):
    """Maps of the k modes with the largest weights in a CP decomposition of one block's patch-to-patch attention.

    The attention without its prefix tokens is a tensor 𝒜 [heads, hw, h, w], in which 𝒜[n, q] is how head n
    attends from patch q to all patches; 𝒜 ≈ Σ_r λ_r a¹_r ⊗ a²_r ⊗ a³_r ⊗ a⁴_r (equation 1 of the source) is
    fitted per image, and "the top-k informative modes based on their weights" λ are kept.

    The source has no code, and its text allows several interpretations, which are options here. Each option quotes the
    sentence of section 4 that it interprets.

    Without `nonnegative`, modes may cancel each other: they are not orthogonal, their weights grow with their number
    until the largest exceeds the norm of the attention, and many fits stop at `max_iter`. The chosen positions, and
    even more the components, then depend on `seed`, `init` and `tol`, and sometimes on rounding, which differs between
    batch sizes. The mean of the retrieved maps hardly depends on them (docs/results.md has figures).
    `salvit.extractors.cp.cp_als` returns each fit's error and number of sweeps.

    Source: Djilali, McGuinness and O'Connor, "Vision Transformers are Inherently Saliency Learners", 2023,
    section 4.

    Args:
        k: number of modes kept; the source finds 32 to be best.
        rank: number of modes fitted; k by default.
        select: what a mode stands for. "The aim is to select the salient positions along the second dimension, and
            retrieve their self-attention maps": with "locations" a mode retrieves 𝒜[:, q] of its strongest position
            q = argmax |a²|, which several modes may share, and with "distinct" each in turn, the heaviest first,
            takes its strongest free position. "The factor matrices can be used to […] extract useful information about
            the underlying structure": with "components" a map is the mode's own spatial part, λ a³ ⊗ a⁴, which may be
            negative in places where the fit is free.
        heads: what a retrieved map 𝒜[:, q] becomes. "The final ℬ ∈ ℝ^{k×h×w} is obtained" does not say how: "mean" is
            the mean over the heads, "weighted" the mean weighted by the mode's own |a¹|; with "each" the heads stay
            apart, as for the source's other methods ("the number of heads").
        merge: whether the k maps become one, their mean (one per head where heads stay apart): "a class independent
            relevancy map". A decoder then has few channels, each with the same meaning in every image.
        order: of the k maps, which the source leaves open; no effect with `merge`. In "value" each patch has its k
            values sorted, the largest first, so that a channel means the same in every image: decoders learn most from
            this order (docs/results.md). In "weight" the map of the heaviest mode comes first, in "position" that of
            the position nearest to the top left.
        attended: whether modes may only take positions that receive at least as much attention as the median patch,
            which leaves out most of the background: "highly likely salient locations".
        nonnegative: whether the decomposition is non-negative, as attention is, so that modes are parts of it and
            cannot cancel. The source uses alternating least squares, without saying more.
        block: block index, negative ones counting from the last; a list of them, or "all", puts the maps of each
            block's own decomposition one after the other. The source's: "the last layer's full self-attention
            tensor".
        init: start of the fit, "svd" or "random"; see `salvit.extractors.cp.cp_als`.
        seed: seed of the random columns the fit starts from.
        max_iter: largest number of sweeps of the fit.
        tol: relative decrease of the error per sweep at which the fit stops.

    Raises:
        ValueError: if an option is not one of those above, two of them have no meaning together, or k is not between 1
            and the rank. When called: if an option of the fit is out of range, or there are fewer modes or
            positions in the attention than asked for.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> SalientAttention(k=4)(vit, torch.rand(2, 3, 32, 48)).shape
        torch.Size([2, 4, 2, 3])
        >>> SalientAttention(k=4, heads="each", merge=True, block="all")(vit, torch.rand(2, 3, 32, 48)).shape
        torch.Size([2, 6, 2, 3])
    """

    def __init__(
        self,
        k: int = 32,
        rank: int | None = None,
        select: Select = "locations",
        heads: Heads = "mean",
        merge: bool = False,
        order: Order = "value",
        attended: bool = False,
        nonnegative: bool = False,
        block: Blocks = -1,
        init: Literal["svd", "random"] = "svd",
        seed: int = 0,
        max_iter: int = 100,
        tol: float = 3e-4,
    ) -> None:
        check_choice("select", select, Select)
        check_choice("heads", heads, Heads)
        check_choice("order", order, Order)
        check_blocks(block)
        if not 1 <= k <= (k if rank is None else rank):
            raise InvalidValueError(
                f"k must be between 1 and the rank of the decomposition; got k={k}, rank={rank}"
            )
        if select == "components" and (heads != "mean" or attended):
            raise InvalidValueError(
                'select="components" retrieves no attention map: leave out heads and attended, or take "locations"'
            )
        check_seed(seed)
        self.k = k
        self.rank = rank
        self.select = select
        self.heads = heads
        self.merge = merge
        self.order = order
        self.attended = attended
        self.nonnegative = nonnegative
        self.block = block
        self.init = init
        self.seed = seed
        self.max_iter = max_iter
        self.tol = tol

    def check_grid(self, vit: ViT, grid: tuple[int, int]) -> None:
        """Raise ValueError if attention over a grid (rows, columns) has fewer modes or positions than asked for."""
        rows, columns = grid
        heads = min(num_heads(vit, block) for block in blocks_of(vit, self.block))
        most = math.prod(sorted((heads, rows * columns, rows, columns))[:-1])
        if (asked := self.rank or self.k) > most:
            raise InvalidValueError(
                f"{self} decomposes attention into {asked} modes, and {rows}×{columns} patches and "
                f"{heads} heads have at most {most}: lower k or take larger images"
            )
        free = rows * columns // (2 if self.attended else 1)
        if self.select == "distinct" and self.k > free:
            raise InvalidValueError(
                f"{self} takes {self.k} distinct positions, and {rows}×{columns} patches have {free}: lower k or "
                "take larger images"
            )

    def num_channels(self, vit: ViT) -> int:
        """Return the number of blocks times that of modes, or 1 if `merge`, times that of heads if they stay apart."""
        modes, blocks = 1 if self.merge else self.k, blocks_of(vit, self.block)
        return sum(modes * (num_heads(vit, block) if self.heads == "each" else 1) for block in blocks)

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        prefix, rank, maps = num_prefix_tokens(vit), self.k if self.rank is None else self.rank, []
        fitting = {name: getattr(self, name) for name in ("nonnegative", "init", "max_iter", "tol", "seed")}
        for block in read_attention(vit, images, blocks_of(vit, self.block)):
            attention = patches_to_grid(vit, images, block[:, :, prefix:])
            maps.append(self.of_fit(attention, cp_als(attention, rank, **fitting)))
        return torch.cat(maps, dim=1)

    def of_fit(self, attention: Tensor, fit: CPDecomposition) -> Tensor:
        """Return the maps of one block's attention that has been decomposed.

        Args:
            attention: [B, heads, hw, h, w], from every patch to every patch.
            fit: its decomposition into at least k terms.

        Returns:
            [B, K, h, w].
        """
        weights, positions = fit.weights[:, : self.k], self.positions(attention, fit)
        heads, _, rows, columns = (factor[:, :, : self.k] for factor in fit.factors)
        if self.select == "components":
            maps = torch.einsum("bk,bhk,bwk->bkhw", weights, rows, columns)[:, :, None]
        else:
            maps = _retrieved(attention, positions, heads, self.heads)
        if self.merge:
            maps = maps.mean(dim=1, keepdim=True)
        elif self.order == "position":
            maps = _taken(maps, positions.argsort(dim=1, stable=True))
        elif self.order == "value":
            maps = maps.sort(dim=1, descending=True).values
        return maps.flatten(1, 2)

    def positions(self, attention: Tensor, fit: CPDecomposition) -> Tensor:
        """Return the patch that each mode stands for, the heaviest mode first: [B, k] int64, counted row by row.

        Arguments are those of `of_fit`.
        """
        strength = fit.factors[1][:, :, : self.k].abs()
        if self.attended:
            received = attention.mean(dim=(1, 2)).flatten(1)
            # At least half of the patches reach the median, also if many receive the same attention.
            ground = received < received.median(dim=1, keepdim=True).values
            strength = strength.masked_fill(ground[:, :, None], -1)
        if self.select != "distinct":
            return strength.argmax(dim=1)
        found = []
        for mode in range(self.k):
            position = strength[:, :, mode].argmax(dim=1, keepdim=True)
            strength = strength.scatter(1, position[:, :, None].expand(-1, -1, self.k), -2)
            found.append(position)
        return torch.cat(found, dim=1)


def _taken(tensor: Tensor, indices: Tensor) -> Tensor:
    """Of [B, n, …] the entries [B, k] along the second dimension."""
    return tensor[torch.arange(len(tensor), device=tensor.device)[:, None], indices]


def _retrieved(attention: Tensor, positions: Tensor, factors: Tensor, heads: Heads) -> Tensor:
    """Attention maps [B, k, G, h, w] of positions [B, k], G being the number of heads or 1."""
    if heads == "mean":
        return _taken(attention.mean(dim=1), positions)[:, :, None]
    maps = _taken(attention.transpose(1, 2), positions)
    if heads == "each":
        return maps
    shares = factors.abs() / factors.abs().sum(dim=1, keepdim=True)
    return torch.einsum("bknhw,bnk->bkhw", maps, shares)[:, :, None]
