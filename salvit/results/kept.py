"""Maps and attention of a few test images, kept beside the scores so that a report can show them later.

`maps.json` holds, of at most `IMAGES` images spread over the test, a small photograph and each map at the size of the
patch grid, in float16. `attention.json` holds the attention of at most `EXPLORED` of them, in 8 bits, and in at most
`ATTENTION_BYTES` before it is deflated.
"""

import base64
import io
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

MAPS, ATTENTION = "maps.json", "attention.json"
IMAGES, EXPLORED, ATTENTION_BYTES = 100, 4, 8_000_000
PEOPLE = "people"
"""Name of the map that is the density of fixations."""


def spread(total: int, count: int) -> list[int]:
    """At most `count` indices, evenly spaced over `total`.

    Example:
        >>> spread(200, 4), spread(3, 4)
        ([0, 50, 100, 150], [0, 1, 2])
    """
    count = min(total, count)
    return [index * total // count for index in range(count)]


def on_grid(saliency: Tensor, grid: tuple[int, int]) -> Tensor:
    """Means of maps [..., H, W] over the cells of a patch grid (rows, columns): float32 [..., rows, columns]."""
    return F.adaptive_avg_pool2d(saliency.detach().float()[None], grid)[0]


def to_text(saliency: Tensor) -> str:
    """A map [h, w] as text: float16, scaled so that the largest absolute value is 1, row by row in base64.

    Example:
        >>> from_text(to_text(torch.tensor([[1.0, -2.0]])), (1, 2))
        array([[ 0.5, -1. ]], dtype=float32)
    """
    values = saliency.detach().float().cpu()
    # Some methods give values that float16 cannot hold.
    values = values / values.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return _base64(values.numpy().astype("<f2").tobytes())


def from_text(text: str, grid: tuple[int, int]) -> NDArray[np.float32]:
    """The map that `to_text` has written."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32).reshape(grid)


def small_photo(picture: Image.Image, side: int) -> str:
    """A picture as JPEG in base64, its longest side at most `side` pixels."""
    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=82)
    return _base64(file.getvalue())


def pooling(blocks: int, heads: int, prefix: int, grid: tuple[int, int]) -> tuple[int, int]:
    """How many patches a side are put together so that attention fits, and for how many images it then fits.

    Example:
        >>> pooling(12, 12, 1, (14, 14)), pooling(12, 12, 1, (28, 28)), pooling(4, 3, 1, (8, 8))
        ((1, 1), (2, 1), (1, 4))
    """
    side = 1
    while (one := blocks * heads * (prefix + _pooled(grid, side)[0] * _pooled(grid, side)[1]) ** 2) > (
        ATTENTION_BYTES
    ):
        side += 1
    return side, next(count for count in (EXPLORED, 2, 1) if one * count <= ATTENTION_BYTES)


def attention_text(attention: list[Tensor], prefix: int, grid: tuple[int, int], side: int) -> dict[str, str]:
    """The attention of an image, as text.

    Args:
        attention: of each block, [heads, N, N], rows summing to 1; prefix tokens come first.
        prefix: number of prefix tokens.
        grid: (rows, columns) of patches.
        side: patches a side that are put together: the mean of their rows, the sum of their columns.

    Returns:
        `attention`: uint8 [blocks, heads, M, M], each row in shares of its largest value, deflated, in base64;
        `largest`: these largest values, float32 [blocks, heads, M], in base64.
    """
    groups = _groups(prefix, grid, side)
    stacked = torch.stack([one.detach().float().cpu() for one in attention])
    if side > 1:
        stacked = (groups / groups.sum(1, keepdim=True)) @ stacked @ groups.T
    largest = stacked.amax(-1).clamp(min=torch.finfo(torch.float32).tiny)
    shares = (stacked / largest[..., None] * 255).round().byte()
    return {
        "attention": _base64(zlib.compress(shares.numpy().tobytes(), 6)),
        "largest": _base64(largest.numpy().astype("<f4").tobytes()),
    }


def _pooled(grid: tuple[int, int], side: int) -> tuple[int, int]:
    return -(-grid[0] // side), -(-grid[1] // side)


def _groups(prefix: int, grid: tuple[int, int], side: int) -> Tensor:
    """Which token belongs to which group: 0 or 1, [M, N]."""
    rows, columns = grid
    places = torch.arange(rows)[:, None] // side * _pooled(grid, side)[1] + torch.arange(columns) // side
    owners = torch.cat([torch.arange(prefix), prefix + places.flatten()])
    return F.one_hot(owners).T.float()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
