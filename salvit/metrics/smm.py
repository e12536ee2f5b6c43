"""Saliency-map mask metric, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.constant import CountsConstant
from salvit.metrics.functional.heatmaps import constant_heatmaps
from salvit.metrics.functional.smm import smm


class SMM(CountsConstant, PerImageMetric):
    r"""Saliency-map mask metric: the mean over images of the thresholded heatmap's overlap with a mask.

    .. math:: \mathrm{SMM} = \frac{|P \cap G|}{|P \cup G|}

    `update` takes heatmaps [B, h, w] of any size and `masks`, B masks [H, W] or None. Images without a mask,
    or whose heatmap is not finite, are left out of the mean and counted in `n_skipped`; a constant heatmap is
    an empty prediction and counted in `n_constant`. See `salvit.metrics.functional.smm` for the source, edge
    cases and errors.

    Args:
        threshold: in [0, 1); a pixel counts if its value is above.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = SMM()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), [torch.tensor([[0, 1], [0, 0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold

    def update(self, heatmaps: Tensor, masks: Sequence[Tensor | None]) -> None:
        """Score a batch."""
        self.record(smm(heatmaps, masks, self.threshold))
        self.count_constant(constant_heatmaps(heatmaps))
