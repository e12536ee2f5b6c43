"""Sampled shuffled AUC, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics.base import PerImageMetric
from salvit.metrics.functional.other_images import OtherImages
from salvit.metrics.functional.sampled_shuffled_auc import sampled_shuffled_auc


class SampledShuffledAUC(PerImageMetric):
    """The MIT benchmark's shuffled AUC: against fixations on ten random other images; the mean over images.

    `update` takes `pred` [B, H, W], at the native size of the images, and `fixations`, B tensors [n, 2] of (x, y)
    in its pixels. Images without fixations, or without any fixation on other images, are left out of the mean and
    counted in `n_skipped`. See `salvit.metrics.functional.sampled_shuffled_auc` for the definition, the source, edge
    cases and errors; `ShuffledAUC` is the exact one.

    Args:
        others: the fixations of all images, those scored included.
        images: how many other images make up an image's pool.
        splits: number of draws from it.
        step: between thresholds.
        seed: of the draws.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> fixations = [torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])]
        >>> metric = SampledShuffledAUC(OtherImages(fixations, [(2, 2), (2, 2)]))
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]).repeat(2, 1, 1), fixations)
        >>> metric.per_image()
        tensor([1., 0.])
    """

    higher_is_better = True
    truth = "fixations"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self,
        others: OtherImages,
        images: int = 10,
        splits: int = 100,
        step: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.others = others
        self.images = images
        self.splits = splits
        self.step = step
        self.seed = seed

    def update(self, pred: Tensor, fixations: Sequence[Tensor], own: Sequence[Tensor] | None = None) -> None:
        """Score a batch; for `own` see `sampled_shuffled_auc`."""
        options = (self.images, self.splits, self.step, self.seed, own)
        self.record(sampled_shuffled_auc(pred, fixations, self.others, *options))
