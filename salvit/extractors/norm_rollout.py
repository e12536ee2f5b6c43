"""Rollout of what tokens add to each other, instead of how much they attend to each other."""

import torch
from torch import Tensor, nn

from salvit.extractors.additions import added
from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.hooks import inputs_of
from salvit.extractors.recording import record
from salvit.extractors.registry import register_method
from salvit.extractors.rows import Rows, carry, check_rows, select_row
from salvit.vit import ViT, block_indices, fused_attention


@register_method("norm_rollout")
class NormRollout(Extractor):
    """Rollout with the length of what token j adds to token i in place of the attention that i pays to j.

    A pre-norm block's attention and its skip connection make token i the sum, up to a bias, of
    u_ij = Σ_h A^h_ij W_O^h v^h_j + δ_ij x_i, with v^h_j the value of token j in head h, W_O^h the head's part of the
    output projection (LayerScale included), and x_i what enters the block. C_ij = ‖u_ij‖₂ / Σ_j ‖u_ij‖₂; the map is the
    class token's row of C_L · C_{L−1} · … · C_start, or with `rows="all"` the mean row over the patches. Rows sum
    to 1; what falls on prefix tokens is dropped. The MLP passes every share on as it is. The normalisation comes before
    the values here, and nothing is normalised after the addition, so there is no second one to share out.

    A large attention to a token whose value is short, such as one that stores nothing, no longer counts. Lengths come
    from the heads' Gram matrices, never from the N² vectors themselves.

    Source: Modarressi et al., "GlobEnc: Quantifying Global Token Attribution by Incorporating the Whole Encoder
    Layer in Transformers", NAACL 2022, for post-norm encoders; the lengths are those of Kobayashi et al.,
    "Incorporating Residual and Normalization Layers into Analysis of Masked Language Models", EMNLP 2021.

    Args:
        start_layer: lowest block of the product, negative ones counting from the last.
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.

    Raises:
        ValueError: if `rows` is not one of those above.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> NormRollout()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    requires = frozenset({"attention", "additions"})

    def __init__(self, start_layer: int = 0, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.start_layer = start_layer
        self.rows = rows

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        [start] = block_indices(vit, [self.start_layer])
        shares = _shares(vit, images, range(start, len(vit.blocks)))
        row = select_row(vit, shares.pop(), self.rows)[:, None]
        while shares:
            row = carry(row, shares.pop())
        return patches_to_grid(vit, images, row)


def _shares(vit: ViT, images: Tensor, blocks: range) -> list[Tensor]:
    """C [B, N, N] of each block."""

    def reduce(index: int, attention: Tensor) -> Tensor:
        block = vit.blocks[index]
        lengths = _lengths(block, attention, recording.values.pop(index), entering.pop(block))
        return lengths / lengths.sum(dim=-1, keepdim=True)

    with (
        fused_attention(vit),
        inputs_of(vit.blocks[index] for index in blocks) as entering,
        record(vit, blocks, values=True, reduce=reduce, stop=True) as recording,
    ):
        vit(images)
    return [recording.attention[block] for block in blocks]


def _lengths(block: nn.Module, attention: Tensor, values: Tensor, entering: Tensor) -> Tensor:
    """‖u_ij‖ [B, N, N] of a block, from attention [B, H, N, N], values [B, H, N, d] and its input [B, N, D].

    With t^h_j what head h adds of token j at full attention, ‖Σ_h A^h t^h_j‖² = Σ_hg A^h A^g ⟨t^h_j, t^g_j⟩: H² numbers
    a token instead of D numbers a pair of tokens.
    """
    with torch.autocast(attention.device.type, enabled=False):
        parts = added(block, values.to(attention.dtype))
        gram = parts @ parts.transpose(-2, -1)
        by_key = attention.permute(0, 3, 2, 1)
        squared = ((by_key @ gram) * by_key).sum(dim=-1).transpose(1, 2)
        to_itself = attention.diagonal(dim1=-2, dim2=-1).transpose(1, 2)[:, :, None]
        own = (to_itself @ parts).squeeze(2) + entering.to(attention.dtype)
        # Rounding may leave a zero length a little below zero.
        lengths = squared.clamp(min=0).sqrt()
        return lengths.diagonal_scatter(own.norm(dim=-1), dim1=-2, dim2=-1)
