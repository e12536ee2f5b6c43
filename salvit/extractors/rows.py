"""Rows of a square map [N, N], and what becomes of them in the blocks below."""

from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.vit import ViT, num_prefix_tokens, tokens_read

Rows = Literal["auto", "class", "all"]
"""Whose row of the attention a map is: "auto" for the tokens that the classifier reads (the class token, or the mean
over those that it averages or attends over), "class" for the class token, "all" for the mean over the patches."""


def check_rows(rows: str) -> None:
    """Raise ValueError unless `rows` is one of `Rows`."""
    if rows not in ("auto", "class", "all"):
        raise InvalidValueError(f'rows must be "auto", "class" or "all"; got {rows!r}')


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
