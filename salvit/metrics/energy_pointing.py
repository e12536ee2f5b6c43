"""Energy-based pointing game, as a torchmetrics class."""

from collections.abc import Sequence

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.constant import CountsConstant
from salvit.metrics.functional.energy_pointing import energy_pointing
from salvit.metrics.functional.heatmaps import constant_heatmaps


class EnergyPointing(CountsConstant, PerImageMetric):
    r"""Energy-based pointing game: the mean over images of the share of positive energy on the object.

    .. math:: \frac{\sum_{i \in G} \max(S_i, 0)}{\sum_i \max(S_i, 0)}

    `update` takes heatmaps [B, h, w] of any size and `masks`, B masks [H, W] or None; for boxes, give
    `salvit.metrics.functional.box_masks(boxes, size)`. Images without a mask, or whose heatmap is not finite,
    are left out of the mean and counted in `n_skipped`; constant heatmaps are counted in `n_constant`. See
    `salvit.metrics.functional.energy_pointing` for the source, edge cases and errors.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = EnergyPointing()
        >>> metric.update(torch.tensor([[[1.0, 3.0]]]), [torch.tensor([[False, True]])])
        >>> metric.compute()
        tensor(0.7500)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def update(self, heatmaps: Tensor, masks: Sequence[Tensor | None]) -> None:
        """Score a batch."""
        self.record(energy_pointing(heatmaps, masks))
        self.count_constant(constant_heatmaps(heatmaps))
