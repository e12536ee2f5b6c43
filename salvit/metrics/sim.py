"""Similarity, as a torchmetrics class."""

from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.sim import sim


class SIM(PerImageMetric):
    r"""Similarity: the mean over images of the histogram intersection of prediction and density.

    .. math:: \mathrm{SIM} = \sum_i \min(p_i, g_i)

    `update` takes `pred` and `density`, both [B, H, W]. No image is skipped: a constant map is the uniform
    distribution. See `salvit.metrics.functional.sim` for the source, edge cases and errors.

    Args:
        minmax: Whether to min-max the maps first; False is pysaliency's variant.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SIM()
        >>> metric.update(torch.tensor([[[1.0, 2.0, 2.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = True
    truth = "density"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, minmax: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minmax = minmax

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(sim(pred, density, minmax=self.minmax))
