"""Localisation at the best threshold, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from salvit.metrics.constant import CountsConstant
from salvit.metrics.functional.box_sweep import THRESHOLDS, box_sweep
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import constant_heatmaps
from salvit.metrics.rows import PerImageRows, mean

_V2_IOUS = (0.3, 0.5, 0.7)


class BoxSweep(CountsConstant, PerImageRows):
    r"""Best IoU and MaxBoxAcc: localisation when the threshold suits the method, one for all images.

    .. math:: \mathrm{MaxBoxAcc} = \max_t \frac{1}{n} \sum_{i=1}^{n} [\mathrm{IoU}_i(t) \ge 0.5]

    where the IoU is that of the largest region's box with the ground-truth box it fits best. `MaxBoxAccV2`
    takes the best pair of any region's and any ground-truth box, and the mean over the IoUs 0.3, 0.5 and 0.7
    instead of 0.5, each at its own best threshold. `best_iou` is the largest mean IoU of the unions of boxes,
    reached first at `best_threshold`. `compute` returns these four; `per_image` all but the threshold, each image's
    at the threshold that is best for all.

    `update` takes the arguments of `BoxLocalization`, and images are skipped and counted as there. See
    `salvit.metrics.functional.box_sweep` for the source, edge cases and errors. The public evaluator takes
    100 or 1000 thresholds: `thresholds=[k / 100 for k in range(100)]`.

    Args:
        thresholds: T values in [0, 1); an image costs T times the time of `BoxLocalization`.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> metric = BoxSweep()
        >>> heatmaps = torch.tensor([[[0.3, 1.0], [0.3, 0.0]]])
        >>> metric.update(heatmaps, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])], size=(2, 2))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'best_iou': 1.0, 'MaxBoxAcc': 1.0, 'MaxBoxAccV2': 1.0, 'best_threshold': 0.0}
    """

    higher_is_better = True

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thresholds = tuple(thresholds)
        self.columns = tuple(
            f"{name}@{threshold:g}" for name in ("union", "largest", "best") for threshold in self.thresholds
        )

    def update(self, heatmaps: Tensor, boxes: Sequence[Tensor], size: Size) -> None:
        """Score a batch."""
        self.record(torch.cat(box_sweep(heatmaps, boxes, size, self.thresholds), 1))
        self.count_constant(constant_heatmaps(heatmaps))

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Scores of each image at the thresholds that are best for all."""
        union, largest, best = rows.cpu().split(len(self.thresholds), 1)
        accuracies = [_at_best(_correct(best, iou)) for iou in _V2_IOUS]
        return {
            "best_iou": _at_best(union),
            "MaxBoxAcc": _at_best(_correct(largest, 0.5)),
            "MaxBoxAccV2": torch.stack(accuracies).mean(0),
        }

    def compute(self) -> dict[str, Tensor]:
        """Scores at the best thresholds, over the images of all processes that could be scored.

        Returns:
            Scalar float per score; NaN if there is no such image.
        """
        scores = super().compute()
        ious = mean(self.rows()[:, : len(self.thresholds)])
        threshold = torch.tensor(self.thresholds)[ious.nan_to_num().argmax()] + ious.sum() * 0
        return {**scores, "best_threshold": threshold.to(self.device)}


def _at_best(scores: Tensor) -> Tensor:
    """The column of scores [n, T] whose mean is largest, the first of equals."""
    return scores[:, mean(scores).nan_to_num().argmax()]


def _correct(ious: Tensor, least: float) -> Tensor:
    """Whether an IoU is at least a value, as 0 or 1; NaN stays NaN."""
    # In float32 an IoU of exactly 0.3 or 0.7 may be stored just below it.
    correct = (ious >= torch.tensor(least, dtype=ious.dtype)).to(ious.dtype)
    return torch.where(ious.isnan(), torch.nan, correct)
