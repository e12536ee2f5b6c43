"""Correlation coefficient, as a torchmetrics class."""

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.cc import cc


class CC(PerImageMetric):
    r"""Correlation coefficient: the mean over images of the Pearson correlation of prediction and density.

    .. math:: \mathrm{CC} = \frac{\mathrm{cov}(S, G)}{\mathrm{std}(S)\,\mathrm{std}(G)}

    `update` takes `pred` and `density`, both [B, H, W]. No image is skipped: a constant map scores 0. See
    `salvit.metrics.functional.cc` for the source, edge cases and errors.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = CC()
        >>> metric.update(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[1.0, 3.0, 5.0]]]))
        >>> metric.compute()
        tensor(1.)
    """

    higher_is_better = True
    truth = "density"
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(cc(pred, density))
