"""Does the heatmap say what the model used?"""

import torch
from torch import Tensor

from salvit.metrics import ABPC, DeletionInsertion
from salvit.metrics.functional import (
    deletion_insertion,
    group_effects,
    max_sensitivity,
    perturbation_curves,
    saco,
)
from salvit.metrics.functional.fills import Fill
from salvit.metrics.functional.perturbation import FRACTIONS
from salvit.metrics.functional.removal import BATCH_SIZE
from salvit.scores.base import Case, Score


class Perturbation(Score):
    """What removing the least and the most relevant pixels first does to the target; see `salvit.metrics.ABPC`.

    All images count. 20 forward passes per image and method.

    Args:
        fill: what removed pixels become: "zero" (in the normalised image), "mean", "blur" or "noise".
        reference: whether equal pixels fall as in the authors' script.
        batch_size: perturbed images per forward pass.
    """

    group = "faithfulness"
    columns = {"LeRF": "↑", "MoRF": "↓", "ABPC": "↑"}  # noqa: RUF012
    headline = ("ABPC",)
    needs_class = True

    def __init__(self, fill: Fill = "zero", reference: bool = False, batch_size: int = BATCH_SIZE) -> None:
        self.fill = fill
        self.reference = reference
        self.batch_size = batch_size

    def metric(self) -> ABPC:
        """An empty `ABPC`."""
        return ABPC(steps=len(FRACTIONS))

    def rows(self, case: Case) -> Tensor:
        """Both curves."""
        assert case.target is not None
        options = self.options()
        return torch.cat(
            perturbation_curves(case.vit, case.images, case.heatmaps, case.target, **options), dim=1
        )


class Deletion(Score):
    """Deletion and insertion of the most relevant pixels first; see `salvit.metrics.DeletionInsertion`.

    All images count. 22 forward passes per image and method.

    Args:
        deleted: what deleted pixels become.
        inserted_into: what the image is before pixels are inserted.
        batch_size: perturbed images per forward pass.
    """

    group = "faithfulness"
    columns = {"deletion": "↓", "insertion": "↑"}  # noqa: RUF012
    headline = ("deletion", "insertion")
    needs_class = True

    def __init__(
        self, deleted: Fill = "zero", inserted_into: Fill = "blur", batch_size: int = BATCH_SIZE
    ) -> None:
        self.deleted = deleted
        self.inserted_into = inserted_into
        self.batch_size = batch_size

    def metric(self) -> DeletionInsertion:
        """An empty `DeletionInsertion`."""
        return DeletionInsertion(steps=len(FRACTIONS))

    def rows(self, case: Case) -> Tensor:
        """Both curves."""
        assert case.target is not None
        options = self.options()
        curves = deletion_insertion(case.vit, case.images, case.heatmaps, case.target, **options)
        return torch.cat(curves, dim=1)


class Coefficient(Score):
    """Whether more salient groups of pixels matter more to the target; see `salvit.metrics.SaCo`.

    Args:
        groups: of equal size; one forward pass each, and one.
        fill: what removed pixels become.
    """

    group = "faithfulness"
    columns = {"SaCo": "↑"}  # noqa: RUF012
    headline = ("SaCo",)
    needs_class = True

    def __init__(self, groups: int = 10, fill: Fill = "mean") -> None:
        self.groups = groups
        self.fill = fill

    def rows(self, case: Case) -> Tensor:
        """One column."""
        assert case.target is not None
        effects = group_effects(case.vit, case.images, case.heatmaps, case.target, **self.options())
        return saco(*effects)[:, None]


class Sensitivity(Score):
    """How much the heatmap changes near the image; see `salvit.metrics.MaxSensitivity`.

    Args:
        radius: in units of the normalised image.
        samples: extractions per image, and one.
        seed: of the draws.
    """

    group = "faithfulness"
    columns = {"sensitivity": "↓"}  # noqa: RUF012
    headline = ("sensitivity",)

    def __init__(self, radius: float = 0.02, samples: int = 10, seed: int = 0) -> None:
        self.radius = radius
        self.samples = samples
        self.seed = seed

    def rows(self, case: Case) -> Tensor:
        """One column."""
        return max_sensitivity(case.explain, case.images, self.radius, self.samples, self.seed)[:, None]
