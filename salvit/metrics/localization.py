"""Metrics of a heatmap against the objects: boxes, masks, or the odd item of a display."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import Case, ImageMetric, mean
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.localization import LOCALIZATION_SCORES, THRESHOLDS
from salvit.metrics.functional.popout import COLUMNS

_V2_IOUS = (0.3, 0.5, 0.7)


class _Localization(ImageMetric):
    """In a table of explanations, images that the model classifies wrongly are left out."""

    correct_only = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0


class _Boxes(_Localization):
    keys = ("boxes",)

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        self.update(case.heatmaps, case.batch["boxes"], case.size)


class BoxLocalization(_Boxes):
    """Scores of boxes around a heatmap: the means over images of `functional.box_localization`.

    `update` takes heatmaps [B, h, w] of any size, `boxes`, B tensors [n, 4] of (x0, y0, x1, y1) in pixels of the input
    with exclusive edges, and the `size` (H, W) of the input. Images without a box, or whose heatmap is not finite, are
    skipped; a constant heatmap is an empty prediction.

    Args:
        threshold: in [0, 1); a pixel is in a region if its value is above. AG-CAM's tables take 0.5.
        reference: whether to score as the authors' script.

    Example:
        >>> metric = BoxLocalization()
        >>> heatmaps = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
        >>> metric.update(heatmaps, [torch.tensor([[1.0, 0.0, 2.0, 1.0]])], size=(2, 2))
        >>> metric.compute()["iou"]
        tensor(0.5000)
    """

    group = "localisation, boxes at a threshold"
    columns = dict.fromkeys(LOCALIZATION_SCORES, "↑")
    headline = ("iou",)

    def __init__(self, threshold: float = 0.5, reference: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.reference = reference

    def update(self, heatmaps: Tensor, boxes: Sequence[Tensor], size: Size) -> None:
        """Score a batch."""
        scores = functional.box_localization(heatmaps, boxes, size, self.threshold, self.reference)
        self.record(torch.stack(list(scores.values()), 1))


class BoxSweep(_Boxes):
    r"""Best IoU and MaxBoxAcc: localisation at the threshold that suits the method best, one for all images.

    .. math:: \mathrm{MaxBoxAcc} = \max_t \frac{1}{n} \sum_{i=1}^{n} [\mathrm{IoU}_i(t) \ge 0.5]

    where IoU compares the box of the largest region with the ground-truth box that fits best. `MaxBoxAccV2` takes the
    best pair of any region and any ground-truth box, and the mean over the IoUs 0.3, 0.5 and 0.7, each at its best
    threshold. `best_iou` is the largest mean IoU of the unions of boxes, reached first at `best_threshold`. `compute`
    returns these four; `per_image` all but the threshold, at the threshold that is best for all images.

    `update` takes the arguments of `BoxLocalization` and skips the same images. Source: see `functional.box_sweep`. The
    public evaluator takes 100 or 1000 thresholds: `thresholds=[k / 100 for k in range(100)]`.

    Args:
        thresholds: T values in [0, 1); an image costs T times the time of `BoxLocalization`.

    Example:
        >>> metric = BoxSweep()
        >>> metric.update(torch.tensor([[[0.3, 1.0], [0.3, 0.0]]]), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])], size=(2, 2))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'best_iou': 1.0, 'MaxBoxAcc': 1.0, 'MaxBoxAccV2': 1.0, 'best_threshold': 0.0}
    """

    group = "localisation, any threshold"
    columns = {"best_iou": "↑", "MaxBoxAcc": "↑", "MaxBoxAccV2": "↑"}
    headline = ("best_iou", "MaxBoxAcc")

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thresholds = tuple(thresholds)
        self.width = 3 * len(self.thresholds)

    def update(self, heatmaps: Tensor, boxes: Sequence[Tensor], size: Size) -> None:
        """Score a batch."""
        self.record(torch.cat(functional.box_sweep(heatmaps, boxes, size, self.thresholds), 1))

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
        """Scores at the best thresholds, over the images of all processes; NaN if none could be scored."""
        scores = super().compute()
        ious = mean(self._rows[:, : len(self.thresholds)])
        threshold = torch.tensor(self.thresholds)[ious.nan_to_num().argmax()] + ious.sum() * 0
        return {**scores, "best_threshold": threshold.to(self.device)}


class EnergyPointing(_Localization):
    """Energy-based pointing game: the mean over images of `functional.energy_pointing`.

    `update` takes heatmaps [B, h, w] of any size and `masks`, B masks [H, W] or None; for boxes, give
    `functional.box_masks(boxes, size)`. Images without a mask, or whose heatmap is not finite, are skipped.

    Example:
        >>> metric = EnergyPointing()
        >>> metric.update(torch.tensor([[[1.0, 3.0]]]), [torch.tensor([[False, True]])])
        >>> metric.compute()
        tensor(0.7500)
    """

    group = "localisation, any threshold"
    columns = {"energy": "↑"}
    function = staticmethod(functional.energy_pointing)
    keys = ("boxes",)

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch by the object's boxes."""
        # An image without a box has no mask, rather than an empty one on which no energy could lie.
        masks = functional.box_masks(case.batch["boxes"], case.size)
        self.update(case.heatmaps, [mask if mask.any() else None for mask in masks])


class SMM(_Localization):
    """Saliency-map mask metric: the mean over images of `functional.smm`.

    `update` takes the arguments of `EnergyPointing` and skips the same images.

    Args:
        threshold: in [0, 1); a pixel counts if its value is above.

    Example:
        >>> metric = SMM()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), [torch.tensor([[0, 1], [0, 0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    group = "localisation, exact masks"
    columns = {"SMM": "↑"}
    function = staticmethod(functional.smm)
    keys = ("mask",)

    def __init__(self, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold


class MassAccuracy(_Localization):
    """Relevance mass accuracy: the mean over images of `functional.energy_pointing`, by exact masks.

    Share of the positive relevance that lies on the object. `update` takes the arguments of `EnergyPointing` and skips
    the same images. Source: Arras, Osman and Samek, "CLEVR-XAI", Information Fusion 2022.

    Example:
        >>> metric = MassAccuracy()
        >>> metric.update(torch.tensor([[[1.0, 3.0]]]), [torch.tensor([[False, True]])])
        >>> metric.compute()
        tensor(0.7500)
    """

    group = "localisation, exact masks"
    columns = {"mass": "↑"}
    function = staticmethod(functional.energy_pointing)
    keys = ("mask",)


class RankAccuracy(_Localization):
    """Relevance rank accuracy: the mean over images of `functional.rank_accuracy`.

    `update` takes the arguments of `EnergyPointing` and skips the same images.

    Example:
        >>> metric = RankAccuracy()
        >>> metric.update(torch.tensor([[[3.0, 2.0, 1.0]]]), [torch.tensor([[1, 0, 1]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    group = "localisation, exact masks"
    columns = {"rank": "↑"}
    function = staticmethod(functional.rank_accuracy)
    keys = ("mask",)


class PointingGame(_Localization):
    """Pointing game: the mean over images of `functional.pointing_game`.

    `update` takes the arguments of `EnergyPointing` and skips the same images.

    Example:
        >>> metric = PointingGame()
        >>> metric.update(torch.tensor([[[3.0, 2.0, 1.0]]]), [torch.tensor([[1, 0, 1]])])
        >>> metric.compute()
        tensor(1.)
    """

    group = "localisation, exact masks"
    columns = {"pointing": "↑"}
    function = staticmethod(functional.pointing_game)
    keys = ("mask",)


class PopOut(ImageMetric):
    """How a map treats the odd item of displays: the means over images of the columns of `functional.popout`.

    `update` takes `pred` [B, h, w] of any size, and `targets` and `distractors`, B masks [H, W] each. `fixations` is
    the mean number of fixations until the target is found, the limit where it was not, and `found` the share of images
    in which it was. Images without target or distractors, or whose map is not finite, are skipped; a ratio whose
    denominator is 0 is left out of its mean alone.

    Args:
        limit: number of fixations after which the target counts as not found.

    Example:
        >>> metric = PopOut()
        >>> pred = torch.tensor([[[4.0, 2.0, 1.0, 0.0]]])
        >>> metric.update(pred, [torch.tensor([[1, 0, 0, 0]])], [torch.tensor([[0, 1, 0, 0]])])
        >>> {name: round(float(score), 3) for name, score in metric.compute().items()}
        {'MSR_targ': 2.0, 'MSR_bg': 0.25, 'GSI': 0.333, 'fixations': 1.0, 'found': 1.0}
    """

    columns = dict(zip(COLUMNS, "↑↓↑↓↑", strict=True))
    function = staticmethod(functional.popout)

    def __init__(self, limit: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit


def _at_best(scores: Tensor) -> Tensor:
    """The column of scores [n, T] whose mean is largest, the first of equals."""
    return scores[:, mean(scores).nan_to_num().argmax()]


def _correct(ious: Tensor, least: float) -> Tensor:
    """Whether an IoU is at least a value, as 0 or 1; NaN stays NaN."""
    # In float32 an IoU of exactly 0.3 or 0.7 may be stored just below it.
    correct = (ious >= torch.tensor(least, dtype=ious.dtype)).to(ious.dtype)
    return torch.where(ious.isnan(), torch.nan, correct)
