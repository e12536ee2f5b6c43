"""Do the largest values of a heatmap lie on the object? Only the order of the values matters."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from salvit.metrics.functional.heatmaps import check_heatmaps, normalized
from salvit.metrics.functional.localization import with_masks


def rank_accuracy(heatmaps: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
    r"""Share of the largest values of a heatmap that lie on the object, as many values as the object has pixels.

    .. math:: \frac{|P_{K} \cap G|}{K},\; K = |G|

    where P_K are the K largest pixels of the heatmap, brought to the size of the mask (bilinear). Of equal pixels at
    the limit the expected share counts, so that a constant heatmap has the share of the object in the image. Source:
    Arras, Osman and Samek, "CLEVR-XAI", Information Fusion 2022.

    Args:
        heatmaps: [B, h, w] on any grid and scale.
        masks: B masks [H, W] of the object, positive inside; None for an image without one.

    Returns:
        float64 [B] in [0, 1], on the CPU; NaN for an image without a mask or whose mask is empty or heatmap is not
        finite.

    Raises:
        ValueError: A shape is wrong.

    Example:
        >>> rank_accuracy(torch.tensor([[[3.0, 2.0, 1.0, 0.0]]]), [torch.tensor([[1, 0, 1, 0]])])
        tensor([0.5000], dtype=torch.float64)
    """
    return _scores(heatmaps, masks, lambda mask: int(mask.sum()))


def pointing_game(heatmaps: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
    """Whether the largest value of a heatmap lies on the object.

    Of several largest pixels the share on the object counts. The source also counts a hit within 15 pixels of the
    object; here there is no such margin. Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop",
    ECCV 2016.

    Args:
        heatmaps: [B, h, w] on any grid and scale; brought to the size of the mask (bilinear).
        masks: B masks [H, W] of the object, positive inside; None for an image without one.

    Returns:
        float64 [B] in [0, 1], on the CPU; NaN for an image without a mask or whose mask is empty or heatmap is not
        finite.

    Raises:
        ValueError: A shape is wrong.

    Example:
        >>> pointing_game(torch.tensor([[[3.0, 2.0, 1.0, 0.0]]]), [torch.tensor([[1, 0, 1, 0]])])
        tensor([1.], dtype=torch.float64)
    """
    return _scores(heatmaps, masks, lambda mask: 1)


def _scores(heatmaps: Tensor, masks: Sequence[Tensor | None], count: Callable[[Tensor], int]) -> Tensor:
    pairs = with_masks(check_heatmaps(heatmaps), masks)
    scores = [torch.nan if mask is None else _share(heatmap, mask, count(mask)) for heatmap, mask in pairs]
    return torch.tensor(scores, dtype=torch.float64)


def _share(heatmap: Tensor, mask: Tensor, count: int) -> float:
    """Expected share of the `count` largest pixels that lie in a mask, if equal ones are drawn by chance."""
    values = normalized(heatmap[None], (mask.shape[0], mask.shape[1]))[0]
    if values[0, 0].isnan():
        return torch.nan
    limit = values.flatten().topk(count).values[-1]
    above, equal = values > limit, values == limit
    drawn = (count - above.sum()) / equal.sum()
    return float(((above & mask).sum() + drawn * (equal & mask).sum()) / count)
