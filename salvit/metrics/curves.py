"""What metrics of two curves per image share."""

from typing import Any

import torch
from torch import Tensor

from salvit.metrics.rows import PerImageRows, mean


class CurvePair(PerImageRows):
    """A metric that keeps two curves per image.

    A subclass writes `update`, which hands both to `record_pair`, and `image_scores`.

    Args:
        steps: F, the number of points of a curve.
        **kwargs: See `torchmetrics.Metric`.
    """

    def __init__(self, steps: int = 11, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps
        self.columns = tuple(f"{curve}/{step}" for curve in (0, 1) for step in range(steps))

    def record_pair(self, first: Tensor, second: Tensor) -> None:
        """Keep the curves of a batch.

        Args:
            first: [B, F] floats; NaN for an image that could not be scored.
            second: [B, F].

        Raises:
            ValueError: The shapes are not both [B, F].
        """
        if first.ndim != 2 or first.shape[1] != self.steps or first.shape != second.shape:
            raise ValueError(
                f"the curves have shapes {tuple(first.shape)} and {tuple(second.shape)}; expected both "
                f"[B, {self.steps}]: pass steps=number of fractions to {type(self).__name__}"
            )
        self.record(torch.cat([first, second], 1))

    def curves(self) -> tuple[Tensor, Tensor]:
        """Mean of either curve over the images that could be scored; collective as `per_image` is.

        Returns:
            Two float [F].
        """
        self.compute()
        first, second = self._mean_row.split(self.steps)
        return first, second

    def compute(self) -> dict[str, Tensor]:
        """See `PerImageRows`."""
        self._mean_row = mean(self.rows()).to(self.device)
        return super().compute()
