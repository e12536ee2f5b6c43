"""How a batch is scored with the metrics of a saliency table."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection


@torch.compiler.disable  # a module that is compiled scores with NumPy, too
def update_metrics(metrics: MetricCollection, pred: Tensor, batch: dict[str, Any]) -> None:
    """Score predictions at the native size of their stimuli, one by one since sizes may differ.

    Args:
        metrics: from `saliency_metrics`.
        pred: [B, H, W] on any grid; resized (bilinear), the ground truth never is.
        batch: `size`, `density` and `fixations` of a saliency datamodule's batch.
    """
    for index, image in enumerate(at_native_size(pred, batch["size"])):
        truth = {"density": batch["density"][index][None], "fixations": [batch["fixations"][index]]}
        for metric in metrics.values():
            metric.update(image[None], truth[metric.truth])  # type: ignore[index]


def at_native_size(pred: Tensor, sizes: list[tuple[int, int]]) -> Iterator[Tensor]:
    """Resize predictions to their stimuli.

    Args:
        pred: [B, H, W].
        sizes: native (H0, W0) of each image in pixels.

    Yields:
        [H0, W0] per image; bilinear, pixel centres at integers.
    """
    for image, size in zip(pred, sizes, strict=True):
        resized = F.interpolate(image[None, None], tuple(size), mode="bilinear", align_corners=False)
        yield resized[0, 0]
