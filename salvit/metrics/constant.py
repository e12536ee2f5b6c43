"""Counting heatmaps that say nothing."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from salvit.metrics.base import concatenated


class CountsConstant(Metric):
    """Mixed into a metric of heatmaps: counts those that were constant, over all processes.

    A constant heatmap is scored as each metric says, so it stays in the mean; the count tells a failed method
    from a bad one. To be named before the metric's other base, whose `compute` it extends.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> from salvit.metrics.base import PerImageMetric
        >>> class Peak(CountsConstant, PerImageMetric):
        ...     def update(self, heatmaps):
        ...         self.count_constant(heatmaps.amin((1, 2)) == heatmaps.amax((1, 2)))
        ...         self.record(heatmaps.amax((1, 2)))
        >>> metric = Peak()
        >>> metric.update(torch.tensor([[[1.0, 2.0]], [[5.0, 5.0]]]))
        >>> metric.n_constant
        1
    """

    constant: list[Tensor]
    _n_constant: int

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("constant", [], dist_reduce_fx="cat")

    def count_constant(self, constant: Tensor) -> None:
        """Note which heatmaps of a batch are constant.

        Args:
            constant: bool [B].
        """
        # Float: an empty int64 list on one rank aborts gloo.
        self.constant.append(constant.to(self.device, torch.float32))

    def compute(self) -> Any:
        """See the metric."""
        self._n_constant = int(concatenated(self.constant).double().sum())
        return super().compute()  # type: ignore[safe-super]

    @property
    def n_constant(self) -> int:
        """Number of constant heatmaps; collective as `per_image` is."""
        self.compute()
        return self._n_constant
