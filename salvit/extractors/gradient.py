"""Attention weighted by its gradient: one block's, or composed over the blocks."""

from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.gradients import attention_gradients
from salvit.extractors.registry import register_method
from salvit.extractors.rows import Rows, carry, check_rows, select_row
from salvit.vit import ViT, block_indices, num_heads


class AttentionTimesGradient(Extractor):
    """What attention × gradient and generic attention share: the factor max(∇A ⊙ A, 0) and its row."""

    class_specific = True
    requires = frozenset({"attention", "gradients"})
    per_head: bool
    rows: Rows

    def num_channels(self, vit: ViT) -> int:
        """Return the number of heads of the last block if `per_head`, else 1."""
        return num_heads(vit) if self.per_head else 1


@register_method("attention_gradient")
class AttentionGradient(AttentionTimesGradient):
    """Attention times the gradient of the target logit y, what speaks for the class: Σ_heads max(∂y/∂A ⊙ A, 0).

    The row that the classifier reads, of one block or of the mean over all blocks.

    Source: Agrawal, Dayton and Dauber, "Visualizing Attention in Vision Transformers", poster, Stanford
    University, "Methods". It names neither the block nor the row, nor how heads are combined; the positive
    part is that of Chefer, Gur and Wolf (ICCV 2021), whose single block's factor this is, times the number of
    heads.

    Args:
        block: block index, negative ones counting from the last, or "mean" for the mean over all blocks.
        per_head: one map per head instead of their sum; only of a single block.
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.

    Raises:
        ValueError: if an option is not one of those above.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AttentionGradient(per_head=True)(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 3, 2, 3])
    """

    def __init__(
        self, block: int | Literal["mean"] = -1, per_head: bool = False, rows: Rows = "auto"
    ) -> None:
        check_rows(rows)
        if isinstance(block, str) and block != "mean":
            raise InvalidValueError(f'block must be an index or "mean"; got {block!r}')
        if per_head and block == "mean":
            raise InvalidValueError(
                "per_head needs a single block: heads of different blocks have nothing in common"
            )
        self.block = block
        self.per_head = per_head
        self.rows = rows

    def num_channels(self, vit: ViT) -> int:
        """Return the number of the block's heads if `per_head`, else 1."""
        return num_heads(vit, self._blocks(vit)[0]) if self.per_head else 1

    def _blocks(self, vit: ViT) -> list[int]:
        return block_indices(vit, range(len(vit.blocks)) if isinstance(self.block, str) else [self.block])

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        recorded = attention_gradients(vit, images, target, self._blocks(vit))
        factors = [
            select_row(vit, (attention * gradient).clamp(min=0), self.rows)
            for attention, gradient in zip(recorded.attention, recorded.gradients, strict=True)
        ]
        row = torch.stack(factors).mean(dim=0)
        row = row if self.per_head else row.sum(dim=1, keepdim=True)
        return patches_to_grid(vit, images, row)


@register_method("generic_attention")
class GenericAttention(AttentionTimesGradient):
    """Attention times gradient, composed over the blocks as relevance accumulates along the residual stream.

    R = I; from the first block to the last R ← R + mean_heads(max(∂y/∂A ⊙ A, 0)) · R, y the target logit. The map is
    the row of R that the classifier reads, without what I alone gives, the same for every patch. Only that one row is
    carried, from the last block down. With `per_head` the last block's heads are kept apart over the fused lower
    blocks; the maps' mean is the map without it.

    Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers", ICCV 2021, equations 5 and 6.

    Args:
        per_head: one map per head of the last block.
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.

    Raises:
        ValueError: if `rows` is not one of those above.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> GenericAttention()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, per_head: bool = False, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.per_head = per_head
        self.rows = rows

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        recorded = attention_gradients(vit, images, target, range(len(vit.blocks)))
        *lower, last = [
            (a * gradient).clamp(min=0)
            for a, gradient in zip(recorded.attention, recorded.gradients, strict=True)
        ]
        row = select_row(vit, last, self.rows)
        row = row if self.per_head else row.mean(dim=1, keepdim=True)
        identity = select_row(vit, torch.eye(row.shape[-1], dtype=row.dtype, device=row.device), self.rows)
        for factor in reversed(lower):
            row = row + carry(identity + row, factor.mean(dim=1))
        return patches_to_grid(vit, images, row)
