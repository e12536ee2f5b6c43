"""Does the heatmap lie where people look?"""

import hashlib

import torch
from torch import Tensor

from datamodules.base import SaliencyDataModule
from salvit.metrics.collection import at_native_size
from salvit.metrics.functional import cc, nss, shuffled_auc
from salvit.scores.base import Case, Score


class People(Score):
    """Agreement with people's fixations, without a decoder: CC, NSS and sAUC at each image's native size.

    The heatmap is resized (bilinear), the ground truth never is; shuffled AUC is exact, against the fixations of all
    other images of the split. Profile `exact`.
    """

    group = "agreement with people (profile exact)"
    columns = {"CC": "↑", "NSS": "↑", "sAUC": "↑"}  # noqa: RUF012
    headline = ("CC", "NSS", "sAUC")
    keys = ("density", "fixations")

    def __init__(self) -> None:
        self._pool = torch.empty(0)

    def prepare(self, data: SaliencyDataModule) -> None:
        """Count the fixations of all images of the test split."""
        self._pool = data.fixation_counts("test", data.dataset("test").size(0))

    def fingerprint(self) -> str:
        """Hash of all images' fixations, which shuffled AUC compares each image's with."""
        return hashlib.sha256(self._pool.numpy().tobytes()).hexdigest()

    def rows(self, case: Case) -> Tensor:
        """CC, NSS and sAUC [B, 3]."""
        maps = at_native_size(case.heatmaps.cpu(), case.batch["size"])
        truth = zip(maps, case.batch["density"], case.batch["fixations"], strict=True)
        return torch.stack([self._row(*image) for image in truth])

    def _row(self, heatmap: Tensor, density: Tensor, fixations: Tensor) -> Tensor:
        if not heatmap.isfinite().all():
            return torch.full((3,), torch.nan)
        pred, points = heatmap[None], [fixations.cpu()]
        scores = (cc(pred, density[None].cpu()), nss(pred, points), shuffled_auc(pred, points, self._pool))
        return torch.cat([score.float() for score in scores])
