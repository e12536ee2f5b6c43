"""Normalized scanpath saliency, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.nss import nss


class NSS(PerImageMetric):
    r"""Normalized scanpath saliency: the mean over images of the standardised prediction at their fixations.

    .. math:: \mathrm{NSS} = \frac{1}{n} \sum_{i=1}^{n} \frac{S(x_i, y_i) - \bar S}{\mathrm{std}(S)}

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are left out of the mean and counted in `n_skipped`; if no image is left, `compute` gives NaN.
    See `salvit.metrics.functional.nss` for the source, edge cases and errors.

    Args:
        duplicates: Whether a pixel fixated k times counts k times; False scores the binary fixation map
            (MIT).
        ddof: 1 for the sample's standard deviation, 0 for the population's (pysaliency).
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = NSS()
        >>> metric.update(torch.tensor([[[0.0, 1.0, 2.0]]]), [torch.tensor([[2.0, 0.0], [1.0, 0.0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = True
    truth = "fixations"

    def __init__(self, duplicates: bool = True, ddof: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.duplicates = duplicates
        self.ddof = ddof

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(nss(pred, fixations, duplicates=self.duplicates, ddof=self.ddof))
