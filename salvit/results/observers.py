"""How well people predict people: the upper bound of a saliency table, from leaving out one observer."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from datamodules.base import Size, fixation_density
from salvit.metrics import InformationGain, SaliencyMetric, SampledShuffledAUC, ShuffledAUC

UPPER_BOUND = "inter-observer"
"""The row that says how well people predict people; no model competes with it."""


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
    """Copies of the metrics that compare with fixations, under the same names: only these have an upper bound.

    The density of one observer is another ground truth than the density of all, so a score against it is no bound.
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
    """Score the observers of an image by each other: the mean over the observers that are left out in turn.

    The density of the others is 0 far from any fixation. For the information gain it is mixed with the baseline of the
    metric, which counts as one more observer.

    Args:
        metrics: from `of_fixations`; each gets one more score.
        scratch: a copy of them for the computation.
        pairs: from `leave_one_out`; if there are none, the image is skipped and counted.
        own: all fixations on the image, as in the pools of the metrics.
        others: number of observers behind each density.
    """
    for name, metric in metrics.items():
        one = scratch[name]
        assert isinstance(metric, SaliencyMetric)
        assert isinstance(one, SaliencyMetric)
        one.reset()
        for density, points in pairs:
            density = density.to(metric.device)
            if isinstance(one, InformationGain):
                density = one.mixed(density, 1 / (others + 1))
            pool = {"own": [own]} if isinstance(one, ShuffledAUC | SampledShuffledAUC) else {}
            one.update(density[None], [points], **pool)
        metric.restore(one.rows().nanmean()[None])
