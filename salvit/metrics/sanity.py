"""Sanity checks of a method: its map must change with the weights of the model and with the class."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Literal

import numpy as np
import torch
from scipy.stats import entropy
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics.base import Case, ImageMetric, mean
from salvit.metrics.functional.fixations import Size
from salvit.metrics.functional.heatmaps import check_heatmaps, constant_heatmaps, finite_heatmaps, upsampled
from salvit.metrics.functional.similarity import rank_correlation
from salvit.vit import ViT, num_classes
from salvit.vit.randomise import model_parts, randomise, weights_restored

Order = Literal["top_down", "bottom_up"]
_BINS = 100


class ParameterRandomisation(ImageMetric):
    r"""Model parameter randomisation test (MPRT): does the map change as the model loses its weights?

    .. math:: \mathrm{MPRT} = \frac{1}{P} \sum_{p=1}^{P} \rho(S, S_p),\quad
        \mathrm{eMPRT} = \frac{H(S_P) - H(S)}{H(S)}

    The P parts of the model (head, each block, embedding) get random weights one after another and keep them until the
    end; S_p is the map of the same image and class after p parts, ρ Spearman's rank correlation, and H the entropy of
    a histogram of 100 bins of the map at the size of the input. `MPRT_last` is ρ(S, S_P), with all weights random: near
    1 for a method that does not show what the model has learned. eMPRT, the efficient test, is the relative rise of
    entropy of that same map: not above 0 for such a method.

    `update` takes ρ [B, P] and eMPRT [B]. Images whose map is constant or not finite are skipped. `score` extracts
    P maps per image. Sources: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018; Hedström et al., "Sanity
    Checks Revisited", XAI in Action workshop, NeurIPS 2023, for eMPRT.

    Args:
        order: "top_down" begins with the head, "bottom_up" with the embedding.
        seed: seed of the random weights.

    Attributes:
        parts: names of the parts, in the order in which they are randomised; empty until the model is known.

    Example:
        >>> metric = ParameterRandomisation()
        >>> metric.update(torch.tensor([[0.9, 0.4, 0.2]]), torch.tensor([0.1]))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'MPRT': 0.5, 'MPRT_last': 0.2, 'eMPRT': 0.1}
    """

    group = "sanity checks"
    columns = {"MPRT": "↓", "MPRT_last": "↓", "eMPRT": "↑"}
    headline = ("MPRT_last",)

    def __init__(self, order: Order = "top_down", seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if order not in ("top_down", "bottom_up"):
            raise InvalidValueError(f'order must be "top_down" or "bottom_up"; got "{order}"')
        self.order = order
        self.seed = seed
        self.parts: list[str] = []

    def for_model(self, vit: ViT) -> "ParameterRandomisation":
        """The metric with a row as long as the model has parts."""
        metric = deepcopy(self)
        parts = list(model_parts(vit))
        metric.parts = parts if self.order == "top_down" else parts[::-1]
        metric.width = len(parts) + 1
        return metric

    def update(self, similarities: Tensor, rises: Tensor) -> None:
        """Keep the curves and the rises of entropy of a batch."""
        self.width = similarities.shape[1] + 1
        self.record(torch.cat([similarities, rises[:, None]], 1))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch."""
        before = self.original(case)
        parts = list(model_parts(case.vit))
        similarities = []
        after = before
        with out_of_inference(), weights_restored(case.vit):
            for part in parts if self.order == "top_down" else parts[::-1]:
                randomise(case.vit, part, self.seed)
                after = self.explained(case)
                similarities.append(rank_correlation(before, after))
        rises = histogram_entropy(after, case.size) / histogram_entropy(before, case.size) - 1
        self.update(torch.stack(similarities, 1), rises)

    def original(self, case: Case) -> Tensor:
        """The maps of the model as it is."""
        return case.heatmaps

    def explained(self, case: Case) -> Tensor:
        """The maps of the model with the weights that it has now."""
        return case.explain(case.images)

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Mean and end of the curve of each image, and the rise of entropy."""
        curve = rows[:, :-1]
        return dict(zip(self.columns, (curve.mean(1), curve[:, -1], rows[:, -1]), strict=False))

    def curve(self) -> Tensor:
        """Mean similarity after each part, float [P]; collective as `per_image` is."""
        return mean(self.gathered_rows()[:, :-1])


class SmoothParameterRandomisation(ParameterRandomisation):
    """Smooth MPRT: `ParameterRandomisation` of maps that are averaged over noisy images, from the embedding up.

    Averaging removes the noise of gradients, which would count as a change of the map. `update` takes what
    `ParameterRandomisation` takes; `score` extracts samples · (P + 1) maps per image. Source: Hedström et al., "Sanity
    Checks Revisited", XAI in Action workshop, NeurIPS 2023, with 50 samples.

    Args:
        samples: noisy images per map.
        noise: standard deviation, as a share of the range of values of the image.
        order: see `ParameterRandomisation`.
        seed: seed of the noise and of the random weights.

    Example:
        >>> metric = SmoothParameterRandomisation()
        >>> metric.update(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([0.1]))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'sMPRT': 0.5, 'sMPRT_last': 0.1}
    """

    columns = {"sMPRT": "↓", "sMPRT_last": "↓"}
    headline = ("sMPRT_last",)

    def __init__(
        self, samples: int = 10, noise: float = 0.1, order: Order = "bottom_up", seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(order, seed, **kwargs)
        if samples < 1 or not noise > 0:
            raise InvalidValueError(
                f"samples is {samples} and noise {noise}; expected samples ≥ 1 and noise > 0"
            )
        self.samples = samples
        self.noise = noise

    def original(self, case: Case) -> Tensor:
        """The mean maps of the model as it is."""
        return self.explained(case)

    def explained(self, case: Case) -> Tensor:
        """The mean maps over noisy images; the noise is the same for all images and models."""
        generator = torch.Generator().manual_seed(self.seed)
        flat = case.images.flatten(1)
        deviation = (self.noise * (flat.amax(1) - flat.amin(1)))[:, None, None, None]
        total = torch.zeros_like(case.heatmaps)
        for _ in range(self.samples):
            noise = torch.randn(case.images.shape[1:], generator=generator).to(case.images)
            total = total + case.explain(case.images + deviation * noise)
        return total / self.samples


class RandomLogit(ImageMetric):
    """Random logit test: rank correlation of the map of the class with that of another class.

    1 for a method whose map does not depend on the class. The index of the other class is larger by a random number
    (modulo the number of classes), the same for all images. `update` takes both maps, [B, h, w]. Images whose map is
    constant or not finite are skipped. `score` extracts one map per image. Source: Sixt, Granz and Landgraf, "When
    Explanations Lie", ICML 2020, in the form of Hedström et al., "Quantus", JMLR 2023.

    Args:
        seed: seed of the random number.

    Example:
        >>> metric = RandomLogit()
        >>> metric.update(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 3.0, 2.0]]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    group = "sanity checks"
    columns = {"random_logit": "↓"}
    function = staticmethod(rank_correlation)
    needs_class = True

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def update(self, heatmaps: Tensor, others: Tensor) -> None:
        """Score a batch."""
        self.record(rank_correlation(heatmaps, others))

    def score(self, case: Case) -> None:
        """Score the heatmaps of a batch.

        Raises:
            ValueError: The model has one class only.
        """
        count = num_classes(case.vit)
        if count < 2:
            raise InvalidValueError(
                "RandomLogit needs a model with two classes or more; leave it out of the scores"
            )
        assert case.target is not None  # asked for by `needs_class`
        generator = torch.Generator().manual_seed(self.seed)
        further = int(torch.randint(1, count, (1,), generator=generator))
        self.update(case.heatmaps, case.explain(case.images, target=(case.target + further) % count))


def histogram_entropy(heatmaps: Tensor, size: Size) -> Tensor:
    """Entropy in nats of a histogram of 100 bins of each heatmap at the size of the input: float64 [B].

    NaN for a heatmap that is constant or not finite.
    """
    maps = upsampled(check_heatmaps(heatmaps).cpu().double(), size)
    known = finite_heatmaps(maps) & ~constant_heatmaps(maps)
    values = [
        entropy(np.histogram(one.numpy(), _BINS)[0]) if good else np.nan
        for one, good in zip(maps, known, strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64)


@contextmanager
def out_of_inference() -> Iterator[None]:
    """Leave inference mode, in which weights that require a gradient cannot be changed."""
    with torch.inference_mode(False):
        yield
