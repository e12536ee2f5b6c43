"""Weakly supervised localisation, as a torchmetrics class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from salvit.metrics.constant import CountsConstant
from salvit.metrics.functional.box_localization import LOCALIZATION_SCORES, box_localization
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import constant_heatmaps
from salvit.metrics.rows import PerImageRows


class BoxLocalization(CountsConstant, PerImageRows):
    r"""Pixel accuracy, IoU, Dice, precision and recall of boxes around a heatmap: the means over images.

    .. math:: \mathrm{IoU} = \frac{|P \cap G|}{|P \cup G|}

    `update` takes heatmaps [B, h, w] of any size, `boxes`, B tensors [n, 4] of (x0, y0, x1, y1) in pixels of
    the input with exclusive edges, and the input's `size` (H, W). Images without a box, or whose heatmap is
    not finite, are left out of the means and counted in `n_skipped`; a constant heatmap is an empty
    prediction and counted in `n_constant`. See `salvit.metrics.functional.box_localization` for the other
    formulas, the source, edge cases and errors.

    Args:
        threshold: in [0, 1); a pixel is in a region if its value is above.
        reference: Whether to score as the authors' script.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> metric = BoxLocalization()
        >>> heatmaps = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
        >>> metric.update(heatmaps, [torch.tensor([[1.0, 0.0, 2.0, 1.0]])], size=(2, 2))
        >>> metric.compute()["iou"]
        tensor(0.5000)
    """

    higher_is_better = True
    columns = LOCALIZATION_SCORES

    def __init__(self, threshold: float = 0.5, reference: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.reference = reference

    def update(self, heatmaps: Tensor, boxes: Sequence[Tensor], size: Size) -> None:
        """Score a batch."""
        scores = box_localization(heatmaps, boxes, size, self.threshold, self.reference)
        self.record(torch.stack(list(scores.values()), 1))
        self.count_constant(constant_heatmaps(heatmaps))
