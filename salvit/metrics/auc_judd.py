"""AUC-Judd, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.auc_judd import auc_judd


class AUCJudd(PerImageMetric):
    """AUC-Judd: the mean over images of the area under the ROC curve with a threshold at each fixated pixel.

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are left out of the mean and counted in `n_skipped`. See `salvit.metrics.functional.auc_judd` for the
    definition, the source, edge cases and errors.

    Args:
        jitter: Whether ties are broken by noise.
        seed: of the noise.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = AUCJudd()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[0.0, 1.0]])])
        >>> metric.compute()
        tensor(0.8333)
    """

    higher_is_better = True
    truth = "fixations"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, jitter: bool = True, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.jitter = jitter
        self.seed = seed

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(auc_judd(pred, fixations, self.jitter, self.seed))
