"""Metrics with several scores per image."""

from torch import Tensor

from salvit.metrics.base import KeptScores, concatenated


class PerImageRows(KeptScores):
    """A metric that keeps a row of numbers per image, and turns rows into named scores.

    A subclass sets `columns`, the names of the numbers of a row, writes `update`, which hands rows to
    `record`, and overrides `image_scores` where the scores are not the columns themselves. NaN marks an image
    that could not be scored and is left out of the means.

    Args:
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> class Extent(PerImageRows):
        ...     columns = ("width", "height")
        ...     def update(self, boxes):
        ...         self.record(boxes[:, 2:] - boxes[:, :2])
        >>> metric = Extent()
        >>> metric.update(torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 1.0, 5.0, 2.0]]))
        >>> metric.compute()
        {'width': tensor(3.), 'height': tensor(1.)}
        >>> metric.per_image()["width"], metric.n_skipped
        (tensor([2., 4.]), 0)
    """

    columns: tuple[str, ...]
    _per_image: dict[str, Tensor]

    def record(self, scores: Tensor) -> None:
        """Keep the rows of a batch.

        Args:
            scores: [B, number of columns] floats, in the batch's order; NaN for an image that could not be
                scored.
        """
        # Flat: a process without images gathers an empty list, which torchmetrics takes for one axis.
        super().record(scores.flatten())

    def rows(self) -> Tensor:
        """Rows of the images in the state as it is, without a sync.

        Returns:
            Float [n, number of columns].
        """
        return concatenated(self.scores).to(self.device).reshape(-1, len(self.columns))

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Scores of the images by name, from their rows; called by `compute`.

        Args:
            rows: [n, number of columns].

        Returns:
            Float [n] per score.
        """
        return dict(zip(self.columns, rows.unbind(1), strict=True))

    def compute(self) -> dict[str, Tensor]:
        """Means over the images that could be scored, of all processes.

        Returns:
            Scalar float per score; NaN if there is no such image.
        """
        self._per_image = self.image_scores(self.rows())
        return {name: mean(scores).to(self.device) for name, scores in self._per_image.items()}

    def per_image(self) -> dict[str, Tensor]:
        """Scores of all images in the order of `update`; NaN for skipped ones.

        With several processes the order is by rank, then by update; the first call after an update is
        collective, as `compute` is: every process has to make it.

        Returns:
            Float [n] per score.
        """
        self.compute()
        return self._per_image

    @property
    def n_skipped(self) -> int:
        """Number of images left out of the means; collective as `per_image` is."""
        return int(next(iter(self.per_image().values())).isnan().sum())


def mean(scores: Tensor) -> Tensor:
    """Mean of the scores that are not NaN, the same whatever the order in which they were gathered.

    Args:
        scores: [n] or [n, m] floats.

    Returns:
        A scalar or [m], on the CPU.

    Example:
        >>> import torch
        >>> mean(torch.tensor([1.0, torch.nan, 2.0]))
        tensor(1.5000)
    """
    return scores.cpu().double().nanmean(0).to(scores.dtype)
