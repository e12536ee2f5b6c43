"""Kullback–Leibler divergence, as a torchmetrics class."""

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.kld import kld


class KLD(PerImageMetric):
    r"""Kullback–Leibler divergence: the mean over images of that of the density from the prediction, in nats.

    .. math:: \mathrm{KLD} = \sum_i g_i \ln\left(\varepsilon + \frac{g_i}{p_i + \varepsilon}\right)

    `update` takes `pred` and `density`, both [B, H, W]. No image is skipped: an all-zero map is the uniform
    distribution. See `salvit.metrics.functional.kld` for the source, edge cases and errors.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = KLD()
        >>> metric.update(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.1438)
    """

    higher_is_better = False
    truth = "density"
    plot_lower_bound = 0.0

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(kld(pred, density))
