"""What all saliency metrics share: scores are kept per image, and averaged at the end."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class KeptScores(Metric):
    """A metric whose state is the scores of its images; what they mean is for its subclasses.

    Scores are kept in the metric's dtype (float32), and gathered when processes sync.

    Args:
        **kwargs: See `torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False
    scores: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("scores", [], dist_reduce_fx="cat")
        # MetricCollection updates only one of several metrics whose states agree after the first batch, but
        # metrics may score that batch alike and later ones not. NaN equals nothing: they stay apart.
        self.add_state("ungrouped", torch.tensor(torch.nan), dist_reduce_fx="max")

    def record(self, scores: Tensor) -> None:
        """Keep the scores of a batch.

        Args:
            scores: [B] floats, in the batch's order; NaN for an image that could not be scored.
        """
        self.scores.append(scores.to(self.dtype).to(self.device))

    def restore(self, scores: Tensor) -> None:
        """Take in what an earlier `update` has handed to `record`, in place of an `update`.

        Args:
            scores: as for `record`.
        """
        self._computed = None
        self._update_count += 1
        self.record(scores)


class PerImageMetric(KeptScores):
    """A metric that scores images one by one.

    A subclass writes `update`, which hands one score per image to `record`; NaN marks an image that could not
    be scored and is left out of the mean.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> class Mean(PerImageMetric):
        ...     def update(self, pred):
        ...         self.record(pred.mean((1, 2)))
        >>> metric = Mean()
        >>> metric.update(torch.tensor([[[1.0]], [[4.0]], [[torch.nan]]]))
        >>> metric.compute()
        tensor(2.5000)
        >>> metric.per_image(), metric.n_skipped
        (tensor([1., 4., nan]), 1)
    """

    truth: ClassVar[Literal["density", "fixations"]]
    """What `update` compares the prediction with."""
    _per_image: Tensor

    def compute(self) -> Tensor:
        """Mean over the images that could be scored, of all processes.

        Returns:
            Scalar float; NaN if there is no such image.
        """
        self._per_image = self.image_scores()
        # On the CPU in float64, so that the order in which processes are gathered does not show.
        return self._per_image.cpu().double().nanmean().to(self._per_image.dtype).to(self.device)

    def image_scores(self) -> Tensor:
        """Scores of the images in the state as it is, without a sync; called by `compute`.

        Returns:
            Float [n].
        """
        return concatenated(self.scores).to(self.device)

    def per_image(self) -> Tensor:
        """Scores of all images in the order of `update`; NaN for skipped ones.

        With several processes the order is by rank, then by update; the first call after an update is
        collective, as `compute` is: every process has to make it.

        Returns:
            Float [n].
        """
        self.compute()
        return self._per_image

    @property
    def n_skipped(self) -> int:
        """Number of images left out of the mean; collective as `per_image` is."""
        return int(self.per_image().isnan().sum())


def concatenated(state: list[Tensor] | Tensor) -> Tensor:
    """A list state as one tensor, also before the first update and after a sync.

    Args:
        state: Tensors [n_i], or already one [n].

    Returns:
        [n]; float32 [0] for an empty list.

    Example:
        >>> concatenated([torch.ones(1), torch.zeros(2)]), concatenated([])
        (tensor([1., 0., 0.]), tensor([]))
    """
    return torch.empty(0) if isinstance(state, list) and not state else dim_zero_cat(state)
