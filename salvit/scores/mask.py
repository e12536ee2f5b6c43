"""Does the heatmap cover the object, given its mask?"""

from torch import Tensor

from salvit.metrics.functional import smm
from salvit.scores.base import Case, Score


class MaskOverlap(Score):
    """Overlap of what is above a threshold with the object's mask; see `salvit.metrics.SMM`.

    Args:
        threshold: of the heatmap brought to [0, 1].
    """

    group = "localisation, mask"
    columns = {"SMM": "↑"}  # noqa: RUF012
    headline = ("SMM",)
    keys = ("mask",)
    correct_only = True

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    def rows(self, case: Case) -> Tensor:
        """One column."""
        return smm(case.heatmaps, list(case.batch["mask"]), self.threshold)[:, None]
