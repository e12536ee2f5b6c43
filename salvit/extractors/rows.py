"""One token's row of a square map [N, N], and what becomes of it in the blocks below."""

import torch
from torch import Tensor

from salvit.recording import Rows
from salvit.vit import ViT, num_prefix_tokens


def select_row(vit: ViT, maps: Tensor, rows: Rows) -> Tensor:
    """Return the class token's row of square maps, or the mean row over the patches.

    Args:
        vit: a plain timm ViT.
        maps: [..., N, N], queries first.
        rows: "class" or "all".

    Returns:
        [..., N].
    """
    return maps[..., 0, :] if rows == "class" else maps[..., num_prefix_tokens(vit) :, :].mean(dim=-2)


def carry(row: Tensor, maps: Tensor) -> Tensor:
    """Return row · maps in the maps' own precision, also under autocast.

    Args:
        row: [B, K, N].
        maps: [B, N, N].

    Returns:
        [B, K, N].
    """
    with torch.autocast(row.device.type, enabled=False):
        return row @ maps
