"""Areas under ROC curves of fixations against other pixels of their image, or fixations on other images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics import functional
from salvit.metrics.base import AreaUnderCurve, concatenated
from salvit.metrics.functional.auc import float32_order
from salvit.metrics.functional.fixations import OtherImages, check_pool, maps_and_indices

if TYPE_CHECKING:
    from datamodules.base import SaliencyDataModule


class AUC(AreaUnderCurve):
    """Exact AUC: the mean over images of `functional.auc`.

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without fixations
    are skipped.

    Example:
        >>> metric = AUC()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[1.0, 1.0]])])
        >>> metric.compute()
        tensor(0.8750)
    """

    columns = {"AUC": "↑"}
    function = staticmethod(functional.auc)


class AUCBorji(AreaUnderCurve):
    """AUC-Borji: the mean over images of `functional.auc_borji`, which explains the options.

    `update` takes the arguments of `AUC`. Images with fewer than two fixated pixels are skipped.

    Example:
        >>> metric = AUCBorji()
        >>> metric.update(torch.zeros(1, 2, 2), [torch.tensor([[0.0, 1.0], [0.0, 0.0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    columns = {"AUC-Borji": "↑"}
    function = staticmethod(functional.auc_borji)

    def __init__(self, splits: int = 100, step: float = 0.1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.splits = splits
        self.step = step
        self.seed = seed


class AUCJudd(AreaUnderCurve):
    """AUC-Judd: the mean over images of `functional.auc_judd`, which explains the options.

    `update` takes the arguments of `AUC`. Images without fixations are skipped.

    Example:
        >>> metric = AUCJudd()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[0.0, 1.0]])])
        >>> metric.compute()
        tensor(0.8333)
    """

    columns = {"AUC-Judd": "↑"}
    function = staticmethod(functional.auc_judd)

    def __init__(self, jitter: bool = True, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.jitter = jitter
        self.seed = seed


class ShuffledAUC(AreaUnderCurve):
    """Exact shuffled AUC: the mean over images of `functional.shuffled_auc`.

    `update` takes the arguments of `AUC`. Images without fixations, or where no other image has any, are skipped.

    With a pool, each batch is scored at once and only scores are kept. Without one, every prediction is kept until
    `compute`, in float32 on the device of the metric (1.2 MB for 480×640; `compute_on_cpu=True` keeps them in host
    memory), and a sync sends all of them to every process.

    Args:
        pool: [H, W] count map of the fixations of all images, those scored included (`functional.fixation_counts`);
            None for the fixations of the images seen.

    Example:
        >>> pred = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]).repeat(2, 1, 1)
        >>> metric = ShuffledAUC()
        >>> metric.update(pred, [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])])
        >>> metric.per_image()
        tensor([0.7500, 0.2500])
    """

    columns = {"sAUC": "↑"}
    maps: list[Tensor]
    points: list[Tensor]
    shapes: list[Tensor]

    def __init__(self, pool: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool = None if pool is None else check_pool(pool)
        if self.pool is None:
            # All one-dimensional and float: that is what a process without images contributes to a sync.
            self.add_state("maps", [], dist_reduce_fx="cat")
            self.add_state("points", [], dist_reduce_fx="cat")
            self.add_state("shapes", [], dist_reduce_fx="cat")

    def prepared(self, data: "SaliencyDataModule", split: Literal["val", "test"]) -> "ShuffledAUC":
        """The metric with the fixations of a whole split as its pool."""
        return ShuffledAUC(data.fixation_counts(split, data.dataset(split).size(0)))

    def update(self, pred: Tensor, fixations: Sequence[Tensor], own: Sequence[Tensor] | None = None) -> None:
        """Score a batch, or keep it until the pool is known.

        Raises:
            ValueError: `own` is given, see `shuffled_auc`, and there is no pool.
        """
        if self.pool is None:
            if own is not None:
                raise InvalidValueError(
                    "own is for fixations of single observers, which need a pool: ShuffledAUC(pool)"
                )
            self._keep(pred, fixations)
        else:
            self.record(functional.shuffled_auc(pred, fixations, self.pool, own))

    def _keep(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        maps, _ = maps_and_indices(pred, fixations)
        for image, points in zip(maps, fixations, strict=True):
            shape = torch.tensor([*image.shape, len(points)])
            kept = (self.maps, float32_order(image)), (self.points, points.flatten()), (self.shapes, shape)
            for state, values in kept:
                # A copy: the caller may reuse its tensors before the scores are computed.
                state.append(values.detach().clone().to(self.dtype).to(self.device))

    def rows(self) -> Tensor:
        """See `ImageMetric`."""
        if self.pool is not None:
            return super().rows()
        shapes = concatenated(self.shapes).long().reshape(-1, 3).tolist()
        sizes = [(height, width) for height, width, _ in shapes]
        fixations = concatenated(self.points).reshape(-1, 2).split([n for _, _, n in shapes])
        maps: Sequence[Tensor] = self.maps
        if isinstance(maps, Tensor):  # after a sync
            maps = maps.split([height * width for height, width in sizes])
        scores = torch.empty(len(maps), 1, dtype=self.dtype)
        for size in set(sizes):
            pool = functional.fixation_counts(fixations, sizes, size)
            for image in (i for i, other in enumerate(sizes) if other == size):
                scores[image] = functional.shuffled_auc(
                    maps[image].reshape(1, *size), [fixations[image]], pool
                )
        return scores.to(self.device)


class SampledShuffledAUC(AreaUnderCurve):
    """Shuffled AUC of the MIT benchmark: the mean over images of `functional.sampled_shuffled_auc`.

    `update` takes the arguments of `AUC`, with `pred` at the native size of the images. Images without fixations, or
    where no other image has any, are skipped.

    Args:
        others: the fixations of all images, those scored included.
        images: number of other images whose fixations make the pool of an image.
        splits: number of draws from it.
        step: between thresholds.
        seed: seed of the draws.

    Example:
        >>> fixations = [torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])]
        >>> metric = SampledShuffledAUC(OtherImages(fixations, [(2, 2), (2, 2)]))
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]).repeat(2, 1, 1), fixations)
        >>> metric.per_image()
        tensor([1., 0.])
    """

    columns = {"sAUC": "↑"}

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
        self.record(functional.sampled_shuffled_auc(pred, fixations, **self.options(), own=own))
