"""What every score of a heatmap shares."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from datamodules.base import SaliencyDataModule
from salvit.metrics.rows import PerImageRows
from salvit.options import HasOptions
from salvit.vit import ViT


@dataclass(frozen=True)
class Case:
    """Heatmaps of a batch by one method, and what they can be compared with.

    Attributes:
        vit: the model explained.
        images: [B, 3, H, W], normalised for it.
        target: int64 [B], the classes explained; None for a model without a classifier.
        heatmaps: float [B, h, w], the mean over a method's K maps.
        explain: from such images to such heatmaps, for the same classes.
        batch: the datamodule's.
    """

    vit: ViT
    images: Tensor
    target: Tensor | None
    heatmaps: Tensor
    explain: Callable[[Tensor], Tensor]
    batch: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.images.shape[2], self.images.shape[3]


class Score(HasOptions, ABC):
    """Numbers per image that say how good a heatmap is, and the torchmetrics class that averages them.

    A subclass stores its options under the names of its `__init__` parameters, so that results can be told apart.

    Attributes:
        group: the table it belongs to.
        columns: what `metric().compute()` returns that the table shows, and which way is better.
        headline: which of these stand in the table of all groups.
        keys: of a batch without which it cannot be computed.
        needs_class: whether it asks the model about a class.
        correct_only: whether images are left out that the model classifies wrongly.
    """

    group: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    headline: ClassVar[tuple[str, ...]]
    keys: ClassVar[tuple[str, ...]] = ()
    needs_class: ClassVar[bool] = False
    correct_only: ClassVar[bool] = False

    def prepare(self, data: SaliencyDataModule) -> None:
        """Take what is needed of the whole test split, before the first image."""

    def fingerprint(self) -> str:
        """What results depend on beyond the options and the image, after `prepare`."""
        return ""

    def metric(self) -> PerImageRows:
        """An empty metric whose rows `rows` gives."""
        return Columns(tuple(self.columns))

    @abstractmethod
    def rows(self, case: Case) -> Tensor:
        """Numbers [B, m] of a batch, as the metric keeps them; NaN for an image that cannot be scored."""


class Columns(PerImageRows):
    """A metric whose scores are the means of its columns.

    Args:
        columns: their names.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = Columns(("a", "b"))
        >>> metric.record(torch.tensor([[1.0, 2.0], [3.0, torch.nan]]))
        >>> metric.compute()
        {'a': tensor(2.), 'b': tensor(2.)}
    """

    higher_is_better = None

    def __init__(self, columns: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns

    def update(self, rows: Tensor) -> None:
        """Keep the rows [B, number of columns] of a batch."""
        self.record(rows)
