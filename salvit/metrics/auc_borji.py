"""AUC-Borji, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.auc_borji import auc_borji


class AUCBorji(PerImageMetric):
    """AUC-Borji: the mean over images of the area under the ROC curve against random pixels.

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images with fewer
    than two fixated pixels are left out of the mean and counted in `n_skipped`. See
    `salvit.metrics.functional.auc_borji` for the definition, the source, edge cases and errors.

    Args:
        splits: number of draws of random pixels.
        step: between thresholds.
        seed: of the draws.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = AUCBorji()
        >>> metric.update(torch.zeros(1, 2, 2), [torch.tensor([[0.0, 1.0], [0.0, 0.0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = True
    truth = "fixations"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, splits: int = 100, step: float = 0.1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.splits = splits
        self.step = step
        self.seed = seed

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(auc_borji(pred, fixations, self.splits, self.step, self.seed))
