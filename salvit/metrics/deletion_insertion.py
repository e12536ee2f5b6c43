"""Deletion and insertion, as a torchmetrics class."""

import torch
from torch import Tensor

from salvit.metrics.curves import CurvePair


class DeletionInsertion(CurvePair):
    r"""Deletion and insertion: the means over images of the areas under the two curves.

    .. math:: \mathrm{AUC} = \frac{1}{F - 1} \sum_{k=1}^{F-1} \frac{p_k + p_{k+1}}{2}

    Lower is better for deletion, higher for insertion. `update` takes both curves [B, F] of
    `salvit.metrics.functional.deletion_insertion`, at evenly spaced fractions from 0 to 1. Images whose curves
    are NaN, from a heatmap that was not finite, are left out of the means and counted in `n_skipped`. Source:
    Petsiuk, Das and Saenko, "RISE", BMVC 2018, and its public evaluator.

    Args:
        steps: F ≥ 2, the number of fractions.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> metric = DeletionInsertion(steps=3)
        >>> metric.update(torch.tensor([[0.9, 0.1, 0.1]]), torch.tensor([[0.1, 0.9, 0.9]]))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'deletion': 0.3, 'insertion': 0.7}
    """

    def update(self, deletion: Tensor, insertion: Tensor) -> None:
        """Keep the curves of a batch."""
        self.record_pair(deletion, insertion)

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Areas under the curves of each image."""
        curves = rows.split(self.steps, 1)
        deletion, insertion = (torch.trapezoid(curve, dim=1) / (self.steps - 1) for curve in curves)
        return {"deletion": deletion, "insertion": insertion}
