"""Attention itself, as the model computed it."""

from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.recording import read_attention
from salvit.extractors.registry import register_method
from salvit.extractors.rows import Rows, check_rows, rows_of
from salvit.vit import ViT, block_indices, num_heads


@register_method("raw_attention")
class RawAttention(Extractor):
    """Attention probabilities of one block, or of several side by side.

    A map is the attention of the tokens that the classifier reads to each patch p: the class token's, A[0, p], or the
    mean over the patches, (1/hw) Σ_q A[q, p]. Either is the mean over heads, or one map per head. The values are the
    model's own probabilities: what went to prefix tokens is dropped and not shared out again, so a map sums to at
    most 1.

    Source: the raw-attention baseline of Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention
    Visualization", CVPR 2021.

    Args:
        block: block index, negative ones counting from the last; a list of them, or "all", puts the blocks'
            maps one after the other along K (the papers use a single block).
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.
        per_head: one map per head instead of their mean.

    Raises:
        ValueError: if an option is not one of those above.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RawAttention(per_head=True)(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 3, 2, 3])
    """

    def __init__(
        self, block: int | list[int] | Literal["all"] = -1, rows: Rows = "auto", per_head: bool = False
    ) -> None:
        check_rows(rows)
        if isinstance(block, str) and block != "all":
            raise InvalidValueError(f'block must be an index, a list of indices, or "all"; got {block!r}')
        if isinstance(block, list) and not block:
            raise InvalidValueError("block is an empty list; name at least one block")
        self.block = block
        self.rows = rows
        self.per_head = per_head

    def num_channels(self, vit: ViT) -> int:
        """Return the number of blocks, or of all their heads if `per_head`."""
        return sum(num_heads(vit, block) if self.per_head else 1 for block in self._blocks(vit))

    def _blocks(self, vit: ViT) -> list[int]:
        if self.block == "all":
            return list(range(len(vit.blocks)))
        return block_indices(vit, [self.block] if isinstance(self.block, int) else self.block)

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        rows = rows_of(vit, self.rows)
        class_row = rows == slice(0, 1)
        attention = read_attention(vit, images, self._blocks(vit), rows="class" if class_row else "all")
        received = [block[:, :, rows].mean(2) for block in attention]
        if not self.per_head:
            received = [block.mean(1, keepdim=True) for block in received]
        return patches_to_grid(vit, images, torch.cat(received, dim=1))
