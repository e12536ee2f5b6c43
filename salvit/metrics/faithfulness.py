"""Metrics of whether a heatmap shows what the model used."""

from typing import Any

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics import functional
from salvit.metrics.base import Case, ImageMetric, mean
from salvit.metrics.functional.faithfulness import (
    FRACTIONS,
    deletion_insertion_of,
    group_effects_of,
    perturbation_curves_of,
)
from salvit.metrics.functional.infidelity import square_effects_of
from salvit.metrics.functional.removal import BATCH_SIZE, Fill


class CurvePair(ImageMetric):
    """A metric that keeps two curves per image.

    `update` takes both, [B, F]; NaN for an image that could not be scored. A subclass writes `image_scores`.

    Args:
        steps: F, the number of points of a curve.
    """

    group = "faithfulness"
    needs_class = True

    def __init__(self, steps: int = len(FRACTIONS), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps
        self.width = 2 * steps

    def update(self, first: Tensor, second: Tensor) -> None:
        """Keep the curves of a batch.

        Raises:
            ValueError: The shapes are not both [B, F].
        """
        if first.ndim != 2 or first.shape[1] != self.steps or first.shape != second.shape:
            raise InvalidValueError(
                f"the curves have shapes {tuple(first.shape)} and {tuple(second.shape)}; expected both "
                f"[B, {self.steps}]: pass steps=number of fractions to {type(self).__name__}"
            )
        self.record(torch.cat([first, second], 1))

    def curves(self) -> tuple[Tensor, Tensor]:
        """Mean of either curve, float [F], over the images that could be scored; collective as `per_image` is."""
        first, second = mean(self.gathered_rows()).to(self.device).split(self.steps)
        return first, second


class ABPC(CurvePair):
    r"""Area between the perturbation curves: the mean over images of AUC(LeRF) − AUC(MoRF).

    .. math:: \mathrm{ABPC} = \frac{1}{F} \sum_{k=1}^{F} p^{\mathrm{LeRF}}_k - p^{\mathrm{MoRF}}_k

    `update` takes both curves [B, F] of `functional.perturbation_curves`; `compute` returns LeRF and MoRF, the means
    over the points of the curves, and ABPC; `curves` the mean curves. Images whose heatmap is not finite are skipped.
    `score` costs 20 forward passes per image. Source: Leem and Seo, "Attention Guided CAM", AAAI 2024.

    Args:
        steps: F, the number of fractions.
        fill: what removed pixels become: "zero" (in the normalised image), "mean", "blur", "noise" or "linear" (ROAD).
        reference: whether equal pixels are taken as in the authors' script.
        batch_size: perturbed images per forward pass.

    Example:
        >>> metric = ABPC(steps=3)
        >>> metric.update(torch.tensor([[0.9, 0.9, 0.0]]), torch.tensor([[0.9, 0.3, 0.0]]))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'LeRF': 0.6, 'MoRF': 0.4, 'ABPC': 0.2}
    """

    columns = {"LeRF": "↑", "MoRF": "↓", "ABPC": "↑"}
    headline = ("ABPC",)

    def __init__(
        self,
        steps: int = len(FRACTIONS),
        fill: Fill = "zero",
        reference: bool = False,
        batch_size: int = BATCH_SIZE,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, **kwargs)
        self.fill: Fill = fill
        self.reference = reference
        self.batch_size = batch_size

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        curves = perturbation_curves_of(case.removals, FRACTIONS, self.fill, self.reference, self.batch_size)
        self.update(*curves)

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Areas under and between the curves of each image."""
        lerf, morf = (curve.mean(1) for curve in rows.split(self.steps, 1))
        return {"LeRF": lerf, "MoRF": morf, "ABPC": lerf - morf}


class DeletionInsertion(CurvePair):
    r"""Deletion and insertion: the means over images of the areas under the two curves.

    .. math:: \mathrm{AUC} = \frac{1}{F - 1} \sum_{k=1}^{F-1} \frac{p_k + p_{k+1}}{2}

    Lower is better for deletion, higher for insertion. `update` takes both curves [B, F] of
    `functional.deletion_insertion`, at evenly spaced fractions from 0 to 1. Images whose heatmap is not finite are
    skipped. `score` costs 21 forward passes per image. Source: Petsiuk, Das and Saenko, "RISE", BMVC 2018, and its
    public evaluator.

    Args:
        steps: F ≥ 2, the number of fractions.
        deleted: what deleted pixels become.
        inserted_into: fill of the image before pixels are inserted.
        batch_size: perturbed images per forward pass.

    Example:
        >>> metric = DeletionInsertion(steps=3)
        >>> metric.update(torch.tensor([[0.9, 0.1, 0.1]]), torch.tensor([[0.1, 0.9, 0.9]]))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'deletion': 0.3, 'insertion': 0.7}
    """

    columns = {"deletion": "↓", "insertion": "↑"}

    def __init__(
        self,
        steps: int = len(FRACTIONS),
        deleted: Fill = "zero",
        inserted_into: Fill = "blur",
        batch_size: int = BATCH_SIZE,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, **kwargs)
        self.deleted: Fill = deleted
        self.inserted_into: Fill = inserted_into
        self.batch_size = batch_size

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        curves = deletion_insertion_of(
            case.removals, FRACTIONS, self.deleted, self.inserted_into, self.batch_size
        )
        self.update(*curves)

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Areas under the curves of each image."""
        curves = rows.split(self.steps, 1)
        deletion, insertion = (torch.trapezoid(curve, dim=1) / (self.steps - 1) for curve in curves)
        return {"deletion": deletion, "insertion": insertion}


class SaCo(ImageMetric):
    """Salience-guided faithfulness coefficient: the mean over images of `functional.saco`.

    `update` takes salience and drops [B, K] of `functional.group_effects`. Images whose heatmap is constant or not
    finite are skipped.

    Args:
        groups: K, of equal size; `score` costs K + 1 forward passes per image.
        fill: what removed pixels become.

    Example:
        >>> metric = SaCo()
        >>> metric.update(torch.tensor([[3.0, 2.0, 0.0]]), torch.tensor([[0.5, 0.1, 0.2]]))
        >>> metric.compute()
        tensor(0.3333)
    """

    group = "faithfulness"
    columns = {"SaCo": "↑"}
    needs_class = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def __init__(self, groups: int = 10, fill: Fill = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.fill: Fill = fill

    def update(self, salience: Tensor, drops: Tensor) -> None:
        """Score a batch."""
        self.record(functional.saco(salience, drops))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        self.update(*group_effects_of(case.removals, self.groups, self.fill))


class Infidelity(ImageMetric):
    """Infidelity: the mean over images of `functional.infidelity`.

    `update` takes sums and drops [B, K] of `functional.square_effects`. Images whose heatmap is not finite are skipped.
    Values are small, since they are squared: 0.01 is a difference of 0.1 in probability.

    Args:
        squares: K; `score` costs K + 1 forward passes per image.
        fill: what removed pixels become.
        scaled: whether heatmaps are scaled so that their scale does not count.
        seed: seed of the squares.
        batch_size: perturbed images per forward pass.

    Example:
        >>> metric = Infidelity(scaled=False)
        >>> metric.update(torch.tensor([[0.5, 0.2]]), torch.tensor([[0.5, 0.0]]))
        >>> metric.compute()
        tensor(0.0200)
    """

    group = "faithfulness"
    columns = {"infidelity": "↓"}
    needs_class = True
    plot_lower_bound = 0.0

    def __init__(
        self,
        squares: int = 50,
        fill: Fill = "zero",
        scaled: bool = True,
        seed: int = 0,
        batch_size: int = BATCH_SIZE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.squares = squares
        self.fill: Fill = fill
        self.scaled = scaled
        self.seed = seed
        self.batch_size = batch_size

    def update(self, sums: Tensor, drops: Tensor) -> None:
        """Score a batch."""
        self.record(functional.infidelity(sums, drops, self.scaled))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        self.update(*square_effects_of(case.removals, self.squares, self.fill, self.batch_size, self.seed))


class MaxSensitivity(ImageMetric):
    """Max-sensitivity: the mean over images of `functional.max_sensitivity`.

    `update` takes `explain`, from images [B, 3, H, W] to maps [B, ...], and the images. Images whose map is 0
    everywhere or not finite are skipped.

    Args:
        radius: r > 0, in the units of the images.
        samples: number of δ drawn; an image costs samples + 1 extractions.
        seed: seed of the draws.

    Example:
        >>> metric = MaxSensitivity(radius=0.1)
        >>> metric.update(lambda images: images[:, :1] * 0 + 1, torch.rand(2, 3, 4, 4))
        >>> metric.compute()
        tensor(0.)
    """

    group = "faithfulness"
    columns = {"sensitivity": "↓"}
    function = staticmethod(functional.max_sensitivity)
    plot_lower_bound = 0.0

    def __init__(self, radius: float = 0.02, samples: int = 10, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.radius = radius
        self.samples = samples
        self.seed = seed

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        self.update(case.explain, case.images)
