"""Metrics of a saliency map against the density, or the fixations, of its image."""

from typing import Any

from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import DensityMetric, FixationMetric
from salvit.metrics.functional.saliency import FACTOR, check_baseline, check_pot, density_of


class CC(DensityMetric):
    """Correlation coefficient: the mean over images of `functional.cc`.

    `update` takes `pred` and `density`, both [B, H, W]. A constant map scores 0.

    Example:
        >>> import torch
        >>> metric = CC()
        >>> metric.update(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[1.0, 3.0, 5.0]]]))
        >>> metric.compute()
        tensor(1.)
    """

    columns = {"CC": "↑"}
    function = staticmethod(functional.cc)
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0


class NSS(FixationMetric):
    """Normalized scanpath saliency: the mean over images of `functional.nss`.

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without fixations
    are skipped.

    Args:
        duplicates: whether a pixel fixated k times counts k times; False scores the binary fixation map (MIT).
        ddof: 1 for the standard deviation of the sample, 0 for the population (pysaliency).

    Example:
        >>> import torch
        >>> metric = NSS()
        >>> metric.update(torch.tensor([[[0.0, 1.0, 2.0]]]), [torch.tensor([[2.0, 0.0], [1.0, 0.0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    columns = {"NSS": "↑"}
    function = staticmethod(functional.nss)

    def __init__(self, duplicates: bool = True, ddof: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.duplicates = duplicates
        self.ddof = ddof


class SIM(DensityMetric):
    """Similarity: the mean over images of `functional.sim`.

    `update` takes `pred` and `density`, both [B, H, W].

    Args:
        minmax: whether to bring the maps to [0, 1] first; False is pysaliency's variant.

    Example:
        >>> import torch
        >>> metric = SIM()
        >>> metric.update(torch.tensor([[[1.0, 2.0, 2.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    columns = {"SIM": "↑"}
    function = staticmethod(functional.sim)
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, minmax: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minmax = minmax


class KLD(DensityMetric):
    """Kullback–Leibler divergence in nats: the mean over images of `functional.kld`.

    `update` takes `pred` and `density`, both [B, H, W].

    Example:
        >>> import torch
        >>> metric = KLD()
        >>> metric.update(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.1438)
    """

    columns = {"KLD": "↓"}
    function = staticmethod(functional.kld)
    plot_lower_bound = 0.0


class EMD(DensityMetric):
    """Earth mover's distance: the mean over images of `functional.emd`. Needs POT, the extra `emd`.

    `update` takes `pred` and `density`, both [B, H, W].

    Args:
        factor: factor by which the maps are made smaller first; the distance is in pixels of the small maps.
        match_histogram: whether the prediction first gets the values of the density (MIT).

    Raises:
        ModuleNotFoundError: POT is not installed.

    Example:
        >>> import torch
        >>> metric = EMD(factor=1)  # doctest: +SKIP
        >>> metric.update(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))  # doctest: +SKIP
    """

    columns = {"EMD": "↓"}
    function = staticmethod(functional.emd)
    plot_lower_bound = 0.0

    def __init__(self, factor: int = FACTOR, match_histogram: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_pot()
        self.factor = factor
        self.match_histogram = match_histogram


class InformationGain(FixationMetric):
    """Information gain over a baseline, in bits per fixation: the mean over images of `functional.information_gain`.

    `update` takes the arguments of `NSS`. Images without fixations are skipped.

    Args:
        baseline: [H, W] density, such as the center prior of the training set; None for the uniform one.

    Example:
        >>> import torch
        >>> metric = InformationGain(baseline=torch.tensor([[3.0, 1.0]]))
        >>> metric.update(torch.tensor([[[1.0, 1.0]]]), [torch.tensor([[1.0, 0.0]])])
        >>> metric.compute()
        tensor(1.)
    """

    columns = {"IG": "↑"}
    function = staticmethod(functional.information_gain)

    def __init__(self, baseline: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.baseline = None if baseline is None else check_baseline(baseline)

    def mixed(self, density: Tensor, share: float) -> Tensor:
        """A density with a share of the baseline, so that it is nowhere 0 where the baseline is not.

        Args:
            density: [H, W] ≥ 0 with sum 1.
            share: share of the baseline, in [0, 1].

        Returns:
            float64 [H, W] with sum 1.
        """
        size = (density.shape[0], density.shape[1])
        baseline = density_of(self.baseline, size).reshape(size).to(density.device)
        return (1 - share) * density.double() + share * baseline
