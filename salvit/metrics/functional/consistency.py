"""Does a map move with the image?"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from salvit.errors import InvalidValueError
from salvit.metrics.functional.heatmaps import upsampled
from salvit.metrics.functional.similarity import rank_correlation

Explain = Callable[[Tensor], Tensor]


def flip_consistency(explain: Explain, images: Tensor, heatmaps: Tensor) -> Tensor:
    """Rank correlation of the map with that of the mirrored image, mirrored back, per image.

    Args:
        explain: function from images [B, 3, H, W] to maps [B, h, w], for one given class of each image.
        images: as `explain` takes them.
        heatmaps: [B, h, w] of these images.

    Returns:
        float64 [B] in [−1, 1], on the CPU, 1 for a method that mirrors its map; see `rank_correlation`.

    Example:
        >>> images = torch.rand(2, 3, 4, 4)
        >>> flip_consistency(lambda x: x.mean(1), images, images.mean(1))
        tensor([1., 1.], dtype=torch.float64)
    """
    return rank_correlation(heatmaps, explain(images.flip(-1)).flip(-1))


def shift_consistency(explain: Explain, images: Tensor, heatmaps: Tensor, pixels: int = 4) -> Tensor:
    """Mean rank correlation of the map with those of the image shifted left, right, up and down, shifted back.

    Pixels at the border are repeated to fill the gap. Maps are compared at the size of the image (bilinear), where
    both show the same part of it.

    Args:
        explain: function from images [B, 3, H, W] to maps [B, h, w], for one given class of each image.
        images: as `explain` takes them.
        heatmaps: [B, h, w] of these images.
        pixels: size of the shift, at least 1 and less than the sides.

    Returns:
        float64 [B] in [−1, 1], on the CPU, 1 for a method that shifts its map; see `rank_correlation`.

    Raises:
        ValueError: The shift is out of range.

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> shift_consistency(lambda x: x.mean(1), images, images.mean(1), pixels=2)
        tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    height, width = images.shape[2:]
    if not 1 <= pixels < min(height, width):
        raise InvalidValueError(f"pixels is {pixels}; expected 1 … {min(height, width) - 1} for these images")
    before = upsampled(heatmaps, (height, width))
    scores = []
    for left, right, top, bottom in (torch.eye(4, dtype=torch.long) * pixels).tolist():
        padded = pad(images, (left, right, top, bottom), mode="replicate")
        moved = padded[..., bottom : bottom + height, right : right + width]
        after = upsampled(explain(moved), (height, width))
        kept = before[:, bottom : height - top, right : width - left]
        scores.append(rank_correlation(kept, after[:, top : height - bottom, left : width - right]))
    return torch.stack(scores).mean(0)
