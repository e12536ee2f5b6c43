"""Metrics of how concentrated a heatmap is."""

import torch
from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import Case, ImageMetric
from salvit.metrics.functional.fixations import Size


class Complexity(ImageMetric):
    """Sparseness and complexity: the means over images of `functional.sparseness` and `functional.complexity`.

    `update` takes heatmaps [B, h, w] of any grid and the `size` (H, W) of the input. Images whose heatmap is 0
    everywhere or not finite are skipped. Neither says that a heatmap is right: a single random pixel has the best
    scores.

    Example:
        >>> metric = Complexity()
        >>> metric.update(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), (1, 4))
        >>> {name: round(score.item(), 3) for name, score in metric.compute().items()}
        {'sparseness': 0.5, 'complexity': 0.693}
    """

    group = "complexity"
    columns = {"sparseness": "↑", "complexity": "↓"}
    plot_lower_bound = 0.0

    def update(self, heatmaps: Tensor, size: Size) -> None:
        """Score a batch."""
        scores = functional.sparseness(heatmaps, size), functional.complexity(heatmaps, size)
        self.record(torch.stack(scores, 1))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        self.update(case.heatmaps, case.size)
