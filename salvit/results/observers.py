"""How well people predict people: the upper bound of a saliency table, by leaving one observer out."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from datamodules.base import Size, fixation_density
from salvit.metrics import InformationGain, SaliencyMetric, SampledShuffledAUC, ShuffledAUC

UPPER_BOUND = "inter-observer"
"""The row of how well people predict people, with which no model competes."""


def leave_one_out(
    observers: Sequence[Tensor], size: Size, sigma: float, held_out: int
) -> list[tuple[Tensor, Tensor]]:
    """The density of all observers but one, with the fixations of that one.

    Args:
        observers: one [n_i, 2] of (x, y) per observer.
        size: (H, W) of the image.
        sigma: standard deviation in pixels of the Gaussian of the density, as for the densities of the dataset.
        held_out: how many observers are left out at most, each in turn, evenly spaced among those that fixated.

    Returns:
        Pairs of float32 [H, W] and [n_i, 2]; empty where fewer than two observers fixated.

    Example:
        >>> observers = [torch.zeros(1, 2), torch.zeros(0, 2), torch.ones(3, 2)]
        >>> pairs = leave_one_out(observers, (4, 5), sigma=1.0, held_out=5)
        >>> [(density.argmax().item(), len(points)) for density, points in pairs]
        [(6, 1), (0, 3)]
    """
    looked = [points for points in observers if len(points)]
    if len(looked) < 2:
        return []
    chosen = torch.linspace(0, len(looked) - 1, min(held_out, len(looked))).round().int().tolist()
    return [
        (fixation_density(torch.cat([*looked[:one], *looked[one + 1 :]]), size, sigma), looked[one])
        for one in chosen
    ]


def of_fixations(metrics: MetricCollection) -> MetricCollection:
    """Copies of the metrics that compare with fixations, under the same names: those that have an upper bound.

    The density of one observer is no ground truth beside that of all, so a score against it bounds nothing.
    """
    chosen = MetricCollection({}, compute_groups=False)
    for name, metric in metrics.items():
        if metric.truth == "fixations":
            chosen.add_metrics({name: metric.clone()})
    return chosen


def update_upper_bound(
    metrics: MetricCollection,
    scratch: MetricCollection,
    pairs: Sequence[tuple[Tensor, Tensor]],
    own: Tensor,
    others: int,
) -> None:
    """Score the observers of an image by each other: the mean over those left out, each predicted by the others.

    For the information gain the density of the others, which is 0 far from any fixation, is mixed with the baseline of
    the metric, which counts as one more observer.

    Args:
        metrics: from `of_fixations`; each gets one more score.
        scratch: a copy of these to compute with.
        pairs: from `leave_one_out`; without any, the image is skipped and counted.
        own: all fixations on the image, as the pools of the metrics hold them.
        others: number of observers behind each density.
    """
    for name, metric in metrics.items():
        one = scratch[name]
        assert isinstance(metric, SaliencyMetric)
        assert isinstance(one, SaliencyMetric)
        one.reset()
        for density, points in pairs:
            _update(one, density.to(metric.device), points, own, others)
        metric.restore(one.rows().nanmean()[None])


def _update(metric: SaliencyMetric, density: Tensor, points: Tensor, own: Tensor, others: int) -> None:
    if isinstance(metric, ShuffledAUC | SampledShuffledAUC):
        metric.update(density[None], [points], own=[own])
    elif isinstance(metric, InformationGain):
        metric.update(metric.mixed(density, 1 / (others + 1))[None], [points])
    else:
        metric.update(density[None], [points])
