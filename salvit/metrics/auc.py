"""Area under the ROC curve against all pixels, as a torchmetrics class."""

from collections.abc import Sequence

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.auc import auc


class AUC(PerImageMetric):
    r"""Exact AUC: the mean over images of the chance that a fixation outranks a random pixel.

    .. math:: \mathrm{AUC} = \frac{1}{n H W} \sum_{i=1}^{n} \sum_{j=1}^{HW} [S_i > S_j] + \tfrac12 [S_i = S_j]

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are left out of the mean and counted in `n_skipped`; if no image is left, `compute` gives NaN.
    See `salvit.metrics.functional.auc` for edge cases and errors.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = AUC()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[1.0, 1.0]])])
        >>> metric.compute()
        tensor(0.8750)
    """

    higher_is_better = True
    truth = "fixations"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(auc(pred, fixations))
