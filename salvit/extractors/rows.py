"""The options `rows` and `block`: which rows of the attention of which blocks make a map."""

from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.requirements import check_choice
from salvit.vit import ViT, block_indices, num_prefix_tokens, tokens_read

Rows = Literal["auto", "class", "all"]
"""Whose rows of the attention make a map: "auto", those of the tokens that the classifier reads (the class token, or
the mean over those that it averages or attends over); "class", the class token; "all", the mean over the patches."""

Blocks = int | list[int] | Literal["all"]
"""Block indices, negative ones counting from the last: one, several, or all of them."""


def check_rows(rows: str) -> None:
    """Raise ValueError unless `rows` is one of `Rows`."""
    check_choice("rows", rows, Rows)


def check_blocks(block: Blocks) -> None:
    """Raise ValueError unless `block` is one of `Blocks`."""
    if isinstance(block, str) and block != "all":
        raise InvalidValueError(f'block must be an index, a list of indices, or "all"; got {block!r}')
    if isinstance(block, list) and not block:
        raise InvalidValueError("block is an empty list; name at least one block")


def blocks_of(vit: ViT, block: Blocks) -> list[int]:
    """Return the blocks that an option asks for, counted from the first."""
    if isinstance(block, str):
        return list(range(len(vit.blocks)))
    return block_indices(vit, [block] if isinstance(block, int) else block)


def rows_of(vit: ViT, rows: Rows) -> slice:
    """Return the indices of the rows that an option asks for."""
    if rows == "auto":
        return tokens_read(vit)
    return slice(0, 1) if rows == "class" else slice(num_prefix_tokens(vit), None)


def select_row(vit: ViT, maps: Tensor, rows: Rows) -> Tensor:
    """Return the mean [..., N] over the rows that an option asks for, of square maps [..., N, N] with queries first."""
    return maps[..., rows_of(vit, rows), :].mean(dim=-2)


def carry(row: Tensor, maps: Tensor) -> Tensor:
    """Return row [B, K, N] · maps [B, N, N] in the maps' precision, also under autocast."""
    with torch.autocast(row.device.type, enabled=False):
        return row @ maps
