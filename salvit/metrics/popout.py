"""Scores of pop-out, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import ImageMetric
from salvit.metrics.functional.popout import COLUMNS


class PopOut(ImageMetric):
    """How a map treats the odd item of displays: the means over images of the columns of `functional.popout`.

    `update` takes `pred` [B, h, w] of any size, and `targets` and `distractors`, B masks [H, W] each. `fixations` is
    the mean number of fixations until the target is found, the limit where it was not, and `found` the share of images
    in which it was. Images without target or distractors, or whose map is not finite, are skipped; a ratio whose
    denominator is 0 is left out of its mean alone.

    Args:
        limit: number of fixations after which the target counts as not found.

    Example:
        >>> import torch
        >>> metric = PopOut()
        >>> pred = torch.tensor([[[4.0, 2.0, 1.0, 0.0]]])
        >>> metric.update(pred, [torch.tensor([[1, 0, 0, 0]])], [torch.tensor([[0, 1, 0, 0]])])
        >>> {name: round(float(score), 3) for name, score in metric.compute().items()}
        {'MSR_targ': 2.0, 'MSR_bg': 0.25, 'GSI': 0.333, 'fixations': 1.0, 'found': 1.0}
    """

    columns = dict(zip(COLUMNS, "↑↓↑↓↑", strict=True))

    def __init__(self, limit: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def update(self, pred: Tensor, targets: Sequence[Tensor], distractors: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(functional.popout(pred, targets, distractors, self.limit))
