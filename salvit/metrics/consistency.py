"""Metrics of whether a map moves with its image."""

from typing import Any

import torch
from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import Case, ImageMetric
from salvit.metrics.functional.consistency import Explain


class Consistency(ImageMetric):
    """Means over images of `functional.flip_consistency` and `functional.shift_consistency`.

    `update` takes `explain`, from images [B, 3, H, W] to maps [B, h, w], the images and their maps. Images whose map is
    constant or not finite are skipped. `score` extracts five maps per image. A low score may be the model's: it need
    not see the same in a mirrored image.

    Args:
        pixels: size of the shifts in pixels.

    Example:
        >>> metric, images = Consistency(pixels=1), torch.rand(2, 3, 4, 4)
        >>> metric.update(lambda images: images.mean(1), images, images.mean(1))
        >>> metric.compute()
        {'flip': tensor(1.), 'shift': tensor(1.)}
    """

    group = "consistency"
    columns = {"flip": "↑", "shift": "↑"}
    plot_upper_bound = 1.0

    def __init__(self, pixels: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pixels = pixels

    def update(self, explain: Explain, images: Tensor, heatmaps: Tensor) -> None:
        """Score a batch."""
        flip = functional.flip_consistency(explain, images, heatmaps)
        shift = functional.shift_consistency(explain, images, heatmaps, self.pixels)
        self.record(torch.stack([flip, shift], 1))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        self.update(case.explain, case.images, case.heatmaps)
