"""Salient Attention: the attention of the locations that a tensor decomposition finds informative."""

import math
from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.cp import cp_als
from salvit.extractors.recording import read_attention
from salvit.extractors.requirements import check_seed
from salvit.vit import ViT, num_heads, num_prefix_tokens


@register_method("salient_attention")
class SalientAttention(Extractor):
    """Maps of the k heaviest modes of a CP decomposition of one block's patch-to-patch attention.

    The attention without its prefix tokens is a tensor 𝒜 [heads, hw, h, w], in which 𝒜[n, q] is how head n
    attends from patch q to all patches; 𝒜 ≈ Σ_r λ_r a¹_r ⊗ a²_r ⊗ a³_r ⊗ a⁴_r (equation 1 of the source) is
    fitted per image, and modes are ranked by their weight λ.

    The source can be read in two ways. With `select="locations"` each mode retrieves the self-attention map
    of its strongest position, (1/heads) Σ_n 𝒜[n, argmax_q |a²_q|]: probabilities, what went to prefix tokens
    dropped. Modes may share a position, and then their maps are the same. With `select="components"` a map
    is the mode's own spatial part, λ a³ ⊗ a⁴; the fit is unconstrained, so it may be negative in places,
    but a³ and a⁴ each have a non-negative sum.

    Modes may cancel: fitted freely and not orthogonal, they grow with their number until the heaviest weighs more than
    the attention itself, and many fits end at `max_iter`. Which positions a fit chooses, and even more its
    components, then depends on `seed`, `init` and `tol`, and now and then on rounding, which differs between
    batch sizes; the mean of the retrieved maps hardly does (docs/results.md has figures). `salvit.extractors.cp.cp_als`
    returns each fit's error and number of sweeps.

    Source: Djilali, McGuinness and O'Connor, "Vision Transformers are Inherently Saliency Learners", 2023,
    section 4. It says neither how heads are combined nor that positions are distinct; both are read plainly.

    Args:
        k: number of maps; the source finds 32 to be best.
        rank: number of modes fitted; k by default.
        select: "locations" or "components".
        block: block index, negative ones counting from the last.
        init: start of the fit, "svd" or "random"; see `salvit.extractors.cp.cp_als`.
        seed: of the random columns the fit starts from.
        max_iter: largest number of sweeps of the fit.
        tol: relative decrease of the error per sweep at which the fit stops.

    Raises:
        ValueError: if `select` is unknown or k is not between 1 and the rank. When called: if an option of
            the fit is out of range, or the rank exceeds what any attention needs: of heads,
            h · w, h and w the product of all but the largest.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> SalientAttention(k=4)(vit, torch.rand(2, 3, 32, 48)).shape
        torch.Size([2, 4, 2, 3])
    """

    def __init__(
        self,
        k: int = 32,
        rank: int | None = None,
        select: Literal["locations", "components"] = "locations",
        block: int = -1,
        init: Literal["svd", "random"] = "svd",
        seed: int = 0,
        max_iter: int = 100,
        tol: float = 3e-4,
    ) -> None:
        if select not in ("locations", "components"):
            raise InvalidValueError(f'select must be "locations" or "components"; got {select!r}')
        if not 1 <= k <= (k if rank is None else rank):
            raise InvalidValueError(
                f"k must be between 1 and the rank of the decomposition; got k={k}, rank={rank}"
            )
        check_seed(seed)
        self.k = k
        self.rank = rank
        self.select = select
        self.block = block
        self.init = init
        self.seed = seed
        self.max_iter = max_iter
        self.tol = tol

    def check_grid(self, vit: ViT, grid: tuple[int, int]) -> None:
        """Raise if the attention over a patch grid has fewer modes than asked for.

        Args:
            vit: the model.
            grid: patches (rows, columns).

        Raises:
            ValueError: if it is too small.
        """
        rows, columns = grid
        heads = num_heads(vit, self.block)
        most = math.prod(sorted((heads, rows * columns, rows, columns))[:-1])
        if (asked := self.rank or self.k) > most:
            raise InvalidValueError(
                f"{self!r} decomposes attention into {asked} modes, and {rows}×{columns} patches and "
                f"{heads} heads have at most {most}: lower k or take larger images"
            )

    def num_channels(self, vit: ViT) -> int:
        """Return k."""
        return self.k

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        [attention] = read_attention(vit, images, [self.block])
        attention = patches_to_grid(vit, images, attention[:, :, num_prefix_tokens(vit) :])
        weights, factors, _, _ = cp_als(
            attention,
            self.k if self.rank is None else self.rank,
            init=self.init,
            max_iter=self.max_iter,
            tol=self.tol,
            seed=self.seed,
        )
        weights, (_, queries, rows, columns) = weights[:, : self.k], (f[:, :, : self.k] for f in factors)
        if self.select == "components":
            return torch.einsum("bk,bhk,bwk->bkhw", weights, rows, columns)
        locations = queries.abs().argmax(dim=1)
        samples = torch.arange(len(images), device=locations.device)[:, None]
        return attention.mean(dim=1)[samples, locations]
