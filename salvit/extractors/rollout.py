"""Attention rollout, and rollout of the vectors that tokens add to each other."""

from typing import Any

import torch
from torch import Tensor, nn

from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.recording import inputs_of, record
from salvit.extractors.rows import Rows, carry, check_rows, select_row
from salvit.vit import ViT, block_indices, fused_attention, has_residual


def added(block: nn.Module, values: Tensor) -> Tensor:
    """Return what each head would add if it attended to one token j only: t^h_j = W_O^h v^h_j, [B, N, H, D].

    Args:
        block: a pre-norm block; its LayerScale is part of W_O.
        values: v, [B, H, N, d].
    """
    attention: Any = block.attn
    weight = attention.proj.weight.to(values.dtype)
    scale: Tensor | None = getattr(block, "gamma_1", getattr(getattr(block, "ls1", None), "gamma", None))
    if scale is not None:
        weight = weight * scale[:, None]
    by_head = weight.view(len(weight), values.shape[1], -1)
    return torch.einsum("bhjd,chd->bjhc", values, by_head)


@register_method("rollout")
class Rollout(Extractor):
    """Attention of the last block traced back to the input through the attention of all blocks.

    Â_l = (A_l + I) / 2 with A_l the mean over heads; the map is the row of Â_L · Â_{L−1} · … · Â_start that the
    classifier reads. Only that row is carried down. What falls on prefix tokens is dropped. I stands for the residual
    connection: a block without one has Â_l = A_l.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, equation 1 and section 3; as in
    the code of Chefer, Gur and Wolf (CVPR 2021).

    Args:
        start_layer: lowest block of the product.
        per_head: one map per head of the last block, over the averaged lower blocks; their mean is the map without it.
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> Rollout()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, start_layer: int = 0, per_head: bool = False, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.start_layer = start_layer
        self.per_head = per_head
        self.rows = rows

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        [start] = block_indices(vit, [self.start_layer])
        last = len(vit.blocks) - 1

        def reduce(block: int, attention: Tensor) -> Tensor:
            return select_row(vit, attention, self.rows) if block == last else attention.mean(dim=1)

        with record(vit, range(start, last + 1), reduce=reduce, stop=True) as recording:
            vit(images)
        row = recording.attention[last]
        row = row if self.per_head else row.mean(dim=1, keepdim=True)
        identity = torch.eye(row.shape[-1], dtype=row.dtype, device=row.device)
        row = _with_skipped(vit.blocks[last], row, select_row(vit, identity, self.rows))
        for block in reversed(range(start, last)):
            row = _with_skipped(vit.blocks[block], carry(row, recording.attention[block]), row)
        return patches_to_grid(vit, images, row)


def _with_skipped(block: nn.Module, attended: Tensor, skipped: Tensor) -> Tensor:
    """The row that goes through a block's attention, and in equal parts the row that its residual connection skips."""
    return (attended + skipped) / 2 if has_residual(block) else attended


@register_method("norm_rollout")
class NormRollout(Extractor):
    """Rollout in which the length of the vector that token j adds to token i replaces the attention of i to j.

    A pre-norm block's attention and skip connection make token i the sum, up to a bias, of u_ij = Σ_h A^h_ij W_O^h
    v^h_j + δ_ij x_i, with v^h_j the value of token j in head h, W_O^h the head's part of the output projection
    (LayerScale included), and x_i what enters the block. C_ij = ‖u_ij‖₂ / Σ_j ‖u_ij‖₂; the map is the row of C_L ·
    C_{L−1} · … · C_start that the classifier reads. What falls on prefix tokens is dropped; the MLP passes shares on.
    In a block without residual connections there is no δ_ij x_i.

    Source: Modarressi et al., "GlobEnc: Quantifying Global Token Attribution by Incorporating the Whole Encoder Layer
    in Transformers", NAACL 2022, for post-norm encoders; the lengths are those of Kobayashi et al., "Incorporating
    Residual and Normalization Layers into Analysis of Masked Language Models", EMNLP 2021.

    Args:
        start_layer: lowest block of the product.
        rows: see `salvit.extractors.rows.Rows`.

    Example:
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
        blocks = range(start, len(vit.blocks))

        def reduce(index: int, attention: Tensor) -> Tensor:
            block = vit.blocks[index]
            lengths = _lengths(block, attention, recording.values.pop(index), entering.pop(block))
            return lengths / lengths.sum(dim=-1, keepdim=True)

        with (
            fused_attention(vit),
            inputs_of(vit.blocks[start:]) as entering,
            record(vit, blocks, values=True, reduce=reduce, stop=True) as recording,
        ):
            vit(images)
        row = select_row(vit, recording.attention.pop(blocks[-1]), self.rows)[:, None]
        for index in reversed(blocks[:-1]):
            row = carry(row, recording.attention.pop(index))
        return patches_to_grid(vit, images, row)


def _lengths(block: nn.Module, attention: Tensor, values: Tensor, entering: Tensor) -> Tensor:
    """‖u_ij‖ [B, N, N] of a block, from attention [B, H, N, N], values [B, H, N, d] and its input [B, N, D].

    ‖Σ_h A^h t^h_j‖² = Σ_hg A^h A^g ⟨t^h_j, t^g_j⟩ takes H² numbers a token instead of D numbers a pair of tokens.
    """
    with torch.autocast(attention.device.type, enabled=False):
        parts = added(block, values.to(attention.dtype))
        gram = parts @ parts.transpose(-2, -1)
        by_key = attention.permute(0, 3, 2, 1)
        squared = ((by_key @ gram) * by_key).sum(dim=-1).transpose(1, 2)
        lengths = squared.clamp(min=0).sqrt()  # rounding may leave zero a little below zero
        if not has_residual(block):
            return lengths
        to_itself = attention.diagonal(dim1=-2, dim2=-1).transpose(1, 2)[:, :, None]
        own = (to_itself @ parts).squeeze(2) + entering.to(attention.dtype)
        return lengths.diagonal_scatter(own.norm(dim=-1), dim1=-2, dim2=-1)
