"""Earth mover's distance, as a torchmetrics class."""

from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.emd import FACTOR, check_pot, emd


class EMD(PerImageMetric):
    """Earth mover's distance: the mean over images of how far the prediction's mass has to be moved.

    `update` takes `pred` and `density`, both [B, H, W]. No image is skipped: an all-zero map is the uniform
    distribution. Needs POT, the extra `emd`. See `salvit.metrics.functional.emd` for the definition, the source,
    edge cases and errors.

    Args:
        factor: by how much smaller the maps are made first; the distance is in pixels of the small maps.
        match_histogram: Whether the prediction first gets the density's values (MIT).
        **kwargs: See `torchmetrics.Metric`.

    Raises:
        ModuleNotFoundError: POT is not installed.

    Example:
        >>> import torch
        >>> metric = EMD(factor=1)  # doctest: +SKIP
        >>> metric.update(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        tensor(1.)
    """

    higher_is_better = False
    truth = "density"
    plot_lower_bound = 0.0

    def __init__(self, factor: int = FACTOR, match_histogram: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_pot()
        self.factor = factor
        self.match_histogram = match_histogram

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(emd(pred, density, self.factor, self.match_histogram))
