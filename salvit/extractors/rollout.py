"""Attention rollout: attention composed over the blocks."""

import torch
from torch import Tensor

from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.recording import record
from salvit.extractors.registry import register_method
from salvit.extractors.rows import Rows, carry, check_rows, select_row
from salvit.vit import ViT, block_indices, num_heads


@register_method("rollout")
class Rollout(Extractor):
    """Attention of the last block traced back to the input through the attention of all blocks.

    Â_l = (A_l + I) / row sum with A_l the mean over heads; the map is the class token's row of
    Â_L · Â_{L−1} · … · Â_start. Rows of A sum to 1, so Â_l = (A_l + I) / 2 and the rolled-out row sums to 1;
    what falls on prefix tokens is dropped. Only that one row is carried down, never a product of matrices.
    With `per_head` the last
    block's heads are kept apart over the fused lower blocks; the maps' mean is the map without it.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, equation 1 and section
    3; as in the code of Chefer, Gur and Wolf (CVPR 2021).

    Args:
        start_layer: lowest block of the product, negative ones counting from the last.
        per_head: one map per head of the last block.
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.

    Raises:
        ValueError: if `rows` is not one of those above.

    Example:
        >>> import torch
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

    def num_channels(self, vit: ViT) -> int:
        """Return the number of heads if `per_head`, else 1."""
        return num_heads(vit) if self.per_head else 1

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
        row = (row + select_row(vit, identity, self.rows)) / 2
        for block in reversed(range(start, last)):
            row = (row + carry(row, recording.attention[block])) / 2
        return patches_to_grid(vit, images, row)
