"""Attention itself, as the model computed it."""

from typing import Literal

import torch
from torch import Tensor

from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.registry import register_method
from salvit.recording import Rows, check_rows, read_attention
from salvit.vit import ViT, block_indices, num_heads, num_prefix_tokens, require_class_token


@register_method("raw_attention")
class RawAttention(Extractor):
    """Attention probabilities of one block, or of several side by side.

    With `rows="class"` a map is the class token's attention to each patch, A[0, p]; with `rows="all"` it is
    the attention each patch p receives on average over the patches, (1/hw) Σ_q A[q, p], which needs no class
    token. Either is the mean over heads, or one map per head. The values are the model's own probabilities:
    what went to prefix tokens is dropped and not shared out again, so a map sums to at most 1.

    Source: the raw-attention baseline of Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention
    Visualization", CVPR 2021.

    Args:
        block: block index, negative ones counting from the last; a list of them, or "all", puts the blocks'
            maps one after the other along K (the papers use a single block).
        rows: "class" or "all".
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
        self, block: int | list[int] | Literal["all"] = -1, rows: Rows = "class", per_head: bool = False
    ) -> None:
        check_rows(rows)
        if isinstance(block, str) and block != "all":
            raise ValueError(f'block must be an index, a list of indices, or "all"; got {block!r}')
        if isinstance(block, list) and not block:
            raise ValueError("block is an empty list; name at least one block")
        self.block = block
        self.rows = rows
        self.per_head = per_head

    def check(self, vit: ViT) -> None:
        """Raise if the model is unfit, lacks the block, or has no class token although its row is asked for.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            IndexError: if it has no such block.
            ValueError: if it is in training mode, or has no class token for `rows="class"`.
        """
        super().check(vit)
        if self.rows == "class":
            require_class_token(vit, repr(self), remedy='use rows="all"')
        self._blocks(vit)

    def num_channels(self, vit: ViT) -> int:
        """Return the number of blocks, or of all their heads if `per_head`."""
        return sum(num_heads(vit, block) if self.per_head else 1 for block in self._blocks(vit))

    def _blocks(self, vit: ViT) -> list[int]:
        if self.block == "all":
            return list(range(len(vit.blocks)))
        return block_indices(vit, [self.block] if isinstance(self.block, int) else self.block)

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        attention = read_attention(vit, images, self._blocks(vit), rows=self.rows)
        first_query = num_prefix_tokens(vit) if self.rows == "all" else 0
        received = [block[:, :, first_query:].mean(2) for block in attention]
        if not self.per_head:
            received = [block.mean(1, keepdim=True) for block in received]
        return patches_to_grid(vit, images, torch.cat(received, dim=1))
