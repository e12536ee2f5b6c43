"""Salience-guided faithfulness coefficient, as a torchmetrics class."""

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.saco import saco


class SaCo(PerImageMetric):
    r"""Salience-guided faithfulness coefficient: the mean over images.

    .. math:: F = \frac{\sum_{i<j} w_{ij}}{\sum_{i<j} |w_{ij}|}

    `update` takes `salience` and `drops` [B, K] of `salvit.metrics.functional.group_effects`. Images whose
    heatmap is constant, for which it is not defined, or not finite are left out of the mean and counted in
    `n_skipped`. See `salvit.metrics.functional.saco` for the weights, the source and errors.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SaCo()
        >>> metric.update(torch.tensor([[3.0, 2.0, 0.0]]), torch.tensor([[0.5, 0.1, 0.2]]))
        >>> metric.compute()
        tensor(0.3333)
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def update(self, salience: Tensor, drops: Tensor) -> None:
        """Score a batch."""
        self.record(saco(salience, drops))
