"""The metrics of a saliency table, and how a batch is scored with them."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from salvit.metrics.auc import AUC
from salvit.metrics.cc import CC
from salvit.metrics.kld import KLD
from salvit.metrics.nss import NSS
from salvit.metrics.shuffled_auc import ShuffledAUC
from salvit.metrics.sim import SIM

PROFILE = "exact"
"""Profile of every score here: ties count one half, every fixation counts, nothing is sampled."""


def saliency_metrics(pool: Tensor | None = None, prefix: str | None = None) -> MetricCollection:
    """The metrics of the `exact` profile, in the order of a table.

    Args:
        pool: [H, W] count map of the fixations of all images, for shuffled AUC; see `ShuffledAUC`.
        prefix: of the names under which the scores are logged.

    Returns:
        CC, NSS, SIM, KLD, sAUC and AUC.

    Example:
        >>> list(saliency_metrics(prefix="val/"))
        ['val/CC', 'val/NSS', 'val/SIM', 'val/KLD', 'val/sAUC', 'val/AUC']
    """
    metrics = {
        "CC": CC(),
        "NSS": NSS(),
        "SIM": SIM(),
        "KLD": KLD(),
        "sAUC": ShuffledAUC(pool=pool),
        "AUC": AUC(),
    }
    collection = MetricCollection({}, prefix=prefix, compute_groups=False)
    # One by one: several at once would be sorted by name.
    for name, metric in metrics.items():
        collection.add_metrics({name: metric})
    return collection


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
