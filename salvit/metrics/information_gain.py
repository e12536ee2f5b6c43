"""Information gain, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.information_gain import check_baseline, density_of, information_gain


class InformationGain(PerImageMetric):
    r"""Information gain: the mean over images of that of the prediction over a baseline, in bits per fixation.

    .. math:: \mathrm{IG} = \frac{1}{n} \sum_{i=1}^{n} \log_2(\varepsilon + p(x_i, y_i))
              - \log_2(\varepsilon + b(x_i, y_i))

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are left out of the mean and counted in `n_skipped`. See `salvit.metrics.functional.information_gain`
    for the source, edge cases and errors.

    Args:
        baseline: [H, W] density, such as the center prior of the training set; None for the uniform one.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = InformationGain(baseline=torch.tensor([[3.0, 1.0]]))
        >>> metric.update(torch.tensor([[[1.0, 1.0]]]), [torch.tensor([[1.0, 0.0]])])
        >>> metric.compute()
        tensor(1.)
    """

    higher_is_better = True
    truth = "fixations"

    def __init__(self, baseline: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.baseline = None if baseline is None else check_baseline(baseline)

    def mixed(self, density: Tensor, share: float) -> Tensor:
        """A density with a share of the baseline, so that it is nowhere 0 where the baseline is not.

        Args:
            density: [H, W] ≥ 0 with sum 1.
            share: of the baseline, in [0, 1].

        Returns:
            float64 [H, W] with sum 1.
        """
        size = (density.shape[0], density.shape[1])
        baseline = density_of(self.baseline, size).reshape(size).to(density.device)
        return (1 - share) * density.double() + share * baseline

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(information_gain(pred, fixations, self.baseline))
