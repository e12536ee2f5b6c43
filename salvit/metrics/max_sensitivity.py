"""Max-sensitivity of an explanation, as a torchmetrics class."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.max_sensitivity import max_sensitivity


class MaxSensitivity(PerImageMetric):
    r"""Max-sensitivity: the mean over images of the explanation's largest relative change nearby.

    .. math:: \max_{\|\delta\|_\infty \le r} \frac{\|\Phi(x + \delta) - \Phi(x)\|_2}{\|\Phi(x)\|_2}

    `update` takes `explain`, from images [B, 3, H, W] to maps [B, ...], and the images. Images whose map is 0
    everywhere or not finite are left out of the mean and counted in `n_skipped`. See
    `salvit.metrics.functional.max_sensitivity` for the source and errors.

    Args:
        radius: r > 0, in the images' units.
        samples: number of δ drawn.
        seed: of the draws.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = MaxSensitivity(radius=0.1)
        >>> metric.update(lambda images: images[:, :1] * 0 + 1, torch.rand(2, 3, 4, 4))
        >>> metric.compute()
        tensor(0.)
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, radius: float = 0.02, samples: int = 10, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radius = radius
        self.samples = samples
        self.seed = seed

    def update(self, explain: Callable[[Tensor], Tensor], images: Tensor) -> None:
        """Score a batch."""
        self.record(max_sensitivity(explain, images, self.radius, self.samples, self.seed))
