"""What all metrics share: a row of numbers per image, averaged at the end, and a description for tables."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from salvit.metrics.functional.heatmaps import upsampled
from salvit.metrics.functional.removal import Removals
from salvit.options import HasOptions

if TYPE_CHECKING:
    from datamodules.base import SaliencyDataModule
    from salvit.vit import ViT


@dataclass(frozen=True)
class Case:
    """Heatmaps of a batch by one method, and what they are compared with.

    Attributes:
        vit: the model explained.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], the classes explained; None for a model without a classifier.
        heatmaps: float [B, h, w], the mean over a method's K maps.
        explain: function from such images to such heatmaps, for the same classes or those of `target=`.
        batch: the batch of the datamodule, see `datamodules.base.SaliencyDataset`.
    """

    vit: "ViT"
    images: Tensor
    target: Tensor | None
    heatmaps: Tensor
    explain: Callable[..., Tensor]
    batch: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def explained(self) -> tuple["ViT", Tensor, Tensor, Tensor]:
        """Model, images, heatmaps and classes."""
        assert self.target is not None  # asked for by `needs_class`
        return self.vit, self.images, self.heatmaps, self.target

    @cached_property
    def removals(self) -> Removals:
        """The effects of removing pixels in the order of the heatmaps; scores share them and their forward passes."""
        return Removals(*self.explained)


class ImageMetric(HasOptions, Metric):
    """A metric that keeps a row of numbers per image and averages over the images of all processes.

    A subclass declares `columns` and either `function` or a method `update`, which passes a row of numbers per image to
    `record`. If these are not the scores themselves, it sets `width` and overrides `image_scores`. NaN marks an image
    that is left out of the means. To score explanations, `update` takes heatmaps and the entries of a batch named in
    `keys`; if it takes other arguments, the subclass overrides `score`. `**kwargs` are the options of
    `torchmetrics.Metric`.

    Attributes:
        columns: names of the scores, and which direction is better, "↑" or "↓".
        function: takes the arguments of `update` and the options of the metric, returns a row per image.
        group: title of the table of explanations that has the scores.
        headline: the scores that are also in the table of all groups; by default all.
        keys: entries of a batch that the metric needs.
        needs_class: whether it needs a class that is explained.
        correct_only: whether images that the model classifies wrongly are left out.
        width: number of values kept per image.

    Example:
        >>> class Extent(ImageMetric):
        ...     columns = {"width": "↑", "height": "↑"}
        ...     def update(self, boxes):
        ...         self.record(boxes[:, 2:] - boxes[:, :2])
        >>> metric = Extent()
        >>> metric.update(torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 1.0, 5.0, torch.nan]]))
        >>> metric.compute(), metric.per_image()["width"]
        ({'width': tensor(3.), 'height': tensor(1.)}, tensor([2., 4.]))
    """

    is_differentiable = False
    full_state_update = False
    columns: ClassVar[Mapping[str, str]] = {}
    function: ClassVar[Callable[..., Tensor]]
    group: ClassVar[str] = "other scores"
    headline: ClassVar[tuple[str, ...] | None] = None
    keys: ClassVar[tuple[str, ...]] = ()
    needs_class: ClassVar[bool] = False
    correct_only: ClassVar[bool] = False
    scores: list[Tensor]
    _rows: Tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if len(directions := set(cls.columns.values())) == 1:
            cls.higher_is_better = directions == {"↑"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**dict(kwargs))  # a copy, so that configs do not list torchmetrics' own options
        self.width = len(self.columns)
        self.add_state("scores", [], dist_reduce_fx="cat")
        # MetricCollection updates only one of several metrics whose states are equal after the first batch, although
        # later batches may differ. NaN is equal to nothing, so every metric is updated.
        self.add_state("ungrouped", torch.tensor(torch.nan), dist_reduce_fx="max")

    def update(self, *args: Any) -> None:
        """Score a batch."""
        self.record(self.function(*args, **self.options()))

    def record(self, rows: Tensor) -> None:
        """Keep the rows of a batch: floats [B, width] or [B]; NaN for an image that could not be scored."""
        # Flat, because a process without images contributes an empty tensor of one axis to a sync.
        self.scores.append(rows.flatten().to(self.dtype).to(self.device))

    def restore(self, rows: Tensor) -> None:
        """Keep rows that an earlier `update` has passed to `record`, instead of an `update`."""
        self._computed = None
        self._update_count += 1
        self.record(rows)

    def skip(self) -> None:
        """Count an image that is not scored."""
        self.restore(torch.full((self.width,), torch.nan))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch: `update` with the heatmaps and the entries named in `keys`."""
        self.update(case.heatmaps, *(case.batch[key] for key in self.keys))

    def prepared(self, data: "SaliencyDataModule", split: Literal["val", "test"]) -> "ImageMetric":
        """The metric with what it needs to know about a whole split; by default nothing."""
        return self

    def for_model(self, vit: "ViT") -> "ImageMetric":
        """The metric for the maps of a model; by default itself."""
        return self

    def fingerprint(self) -> str:
        """The options as text, with a hash for a tensor."""
        return str({name: _hashed(value) for name, value in self.options().items()})

    def rows(self) -> Tensor:
        """Rows in the current state, without a sync: float [n, width]."""
        return concatenated(self.scores).to(self.device).reshape(-1, self.width)

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Scores [n] by name, from rows [n, width]; called by `compute`."""
        return dict(zip(self.columns, rows.unbind(1), strict=True))

    def compute(self) -> Any:
        """Means over the images of all processes that could be scored; by name if there are several columns."""
        self._rows = self.rows()
        scores = self.image_scores(self._rows)
        return self._plain({name: mean(values).to(self.device) for name, values in scores.items()})

    def per_image(self) -> Any:
        """Scores [n] of all images in the order of `update`, then of ranks, by name if there are several columns.

        NaN for skipped images. The first call after an update is collective: every process has to make it.
        """
        return self._plain(self.by_column())

    def by_column(self) -> dict[str, Tensor]:
        """As `per_image`, by name even if there is one column."""
        return self.image_scores(self.gathered_rows())

    def gathered_rows(self) -> Tensor:
        """Rows [n, width] of the images of all processes; collective as `per_image` is."""
        self.compute()
        return self._rows

    @property
    def n_skipped(self) -> int:
        """Number of images left out of the means; collective as `per_image` is."""
        return int(torch.stack(list(self.by_column().values())).isnan().all(0).sum())

    def _plain(self, scores: dict[str, Tensor]) -> Any:
        return scores if len(self.columns) > 1 else next(iter(scores.values()))


class SaliencyMetric(ImageMetric):
    """A metric that compares maps at the native size of their images with where people looked.

    `truth` is what `update` compares the prediction with.
    """

    group = "agreement with people (profile exact)"
    keys = ("density", "fixations")
    truth: ClassVar[Literal["density", "fixations"]]

    def score(self, case: Case) -> None:
        """Score heatmaps without a decoder; those that are not finite are skipped."""
        batch = {key: [truth.cpu() for truth in case.batch[key]] for key in ("density", "fixations")}
        for image, truth in scored_images(case.heatmaps.cpu(), {"size": case.batch["size"], **batch}):
            if truth and image.isfinite().all():
                self.update(image, truth[self.truth])
            else:
                self.skip()


class DensityMetric(SaliencyMetric):
    """A metric that compares maps with densities."""

    truth = "density"

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch of maps with their densities, both [B, H, W]."""
        super().update(pred, density)


class FixationMetric(SaliencyMetric):
    """A metric that compares maps with fixations."""

    truth = "fixations"

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch of maps [B, H, W] with B tensors [n, 2] of fixations (x, y) in their pixels."""
        super().update(pred, fixations)


class AreaUnderCurve(FixationMetric):
    """An area under a ROC curve: 1 if every fixation outranks what it is compared with, 0.5 by chance."""

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


def columns_of(metrics: Iterable[ImageMetric]) -> dict[str, str]:
    """The columns of several metrics, in order."""
    return {name: arrow for metric in metrics for name, arrow in metric.columns.items()}


def looked_at(batch: Mapping[str, Any]) -> list[bool]:
    """Whether each image of a batch has a fixation and a density: no column of a table counts any other image."""
    truth = zip(batch["density"], batch["fixations"], strict=True)
    return [len(fixations) > 0 and bool(density.any()) for density, fixations in truth]


def scored_images(pred: Tensor, batch: Mapping[str, Any]) -> Iterator[tuple[Tensor, dict[str, Any] | None]]:
    """Maps [1, H0, W0] at native size, each with its density and fixations; None for an image that does not count."""
    images = zip(at_native_size(pred, batch["size"]), looked_at(batch), strict=True)
    for index, (image, counts) in enumerate(images):
        truth = {"density": batch["density"][index][None], "fixations": [batch["fixations"][index]]}
        yield image[None], truth if counts else None


def at_native_size(pred: Tensor, sizes: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """Resize predictions [B, H, W] to the native sizes (H0, W0) of their stimuli, bilinear, one by one.

    A constant map stays exactly constant.
    """
    for image, size in zip(pred, sizes, strict=True):
        yield upsampled(image[None], size)[0]


def mean(scores: Tensor) -> Tensor:
    """Mean over the first axis of the scores that are not NaN, on the CPU."""
    # In float64, so that the order in which processes are gathered changes no digit.
    return scores.cpu().double().nanmean(0).to(scores.dtype)


def concatenated(state: list[Tensor] | Tensor) -> Tensor:
    """A list state as one tensor [n], also before the first update and after a sync."""
    return torch.empty(0) if isinstance(state, list) and not state else dim_zero_cat(state)


def _hashed(value: Any) -> Any:
    return hashlib.sha256(value.cpu().numpy().tobytes()).hexdigest() if isinstance(value, Tensor) else value
