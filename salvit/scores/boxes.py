"""Does the heatmap lie on the object, given its boxes?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from salvit.metrics import BoxLocalization, BoxSweep
from salvit.metrics.functional import box_localization, box_masks, box_sweep, energy_pointing
from salvit.metrics.functional.box_sweep import THRESHOLDS
from salvit.scores.base import Case, Score


class _Localization(Score):
    """Misclassified images are left out: their heatmap explains a class that the model does not see."""

    keys = ("boxes",)
    correct_only = True


class BoxesAtThreshold(_Localization):
    """Boxes around what is above a threshold; see `salvit.metrics.BoxLocalization`.

    Args:
        threshold: of the heatmap brought to [0, 1]; AG-CAM's tables take 0.5.
        reference: whether to score as the authors' script.
    """

    group = "localisation, boxes at a threshold"
    columns = {"pixel_accuracy": "↑", "iou": "↑", "dice": "↑", "precision": "↑", "recall": "↑"}  # noqa: RUF012
    headline = ("iou",)

    def __init__(self, threshold: float = 0.5, reference: bool = False) -> None:
        self.threshold = threshold
        self.reference = reference

    def metric(self) -> BoxLocalization:
        """An empty `BoxLocalization`."""
        return BoxLocalization(self.threshold, self.reference)

    def rows(self, case: Case) -> Tensor:
        """Its five columns."""
        boxes = case.batch["boxes"]
        scores = box_localization(case.heatmaps, boxes, case.size, self.threshold, self.reference)
        return torch.stack(list(scores.values()), dim=1)


class BoxesAtBestThreshold(_Localization):
    """The same at the threshold that suits the method best; see `salvit.metrics.BoxSweep`.

    Args:
        thresholds: tried.
    """

    group = "localisation, any threshold"
    columns = {"best_iou": "↑", "MaxBoxAcc": "↑", "MaxBoxAccV2": "↑"}  # noqa: RUF012
    headline = ("best_iou", "MaxBoxAcc")

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS) -> None:
        self.thresholds = tuple(thresholds)

    def metric(self) -> BoxSweep:
        """An empty `BoxSweep`."""
        return BoxSweep(self.thresholds)

    def rows(self, case: Case) -> Tensor:
        """IoUs at every threshold."""
        return torch.cat(box_sweep(case.heatmaps, case.batch["boxes"], case.size, self.thresholds), dim=1)


class Energy(_Localization):
    """Share of the positive heatmap that lies in a box; see `salvit.metrics.EnergyPointing`."""

    group = "localisation, any threshold"
    columns = {"energy": "↑"}  # noqa: RUF012
    headline = ("energy",)

    def rows(self, case: Case) -> Tensor:
        """One column."""
        # An image without a box has no mask, rather than an empty one on which no energy could lie.
        masks = [mask if mask.any() else None for mask in box_masks(case.batch["boxes"], case.size)]
        return energy_pointing(case.heatmaps, masks)[:, None]
