"""Metrics of a saliency map against the density, or the fixations, of its image; see also `salvit.metrics.auc`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import SaliencyMetric
from salvit.metrics.functional.emd import FACTOR, check_pot
from salvit.metrics.functional.information_gain import check_baseline, density_of


class CC(SaliencyMetric):
    r"""Correlation coefficient: the mean over images of the Pearson correlation of prediction and density.

    .. math:: \mathrm{CC} = \frac{\mathrm{cov}(S, G)}{\mathrm{std}(S)\,\mathrm{std}(G)}

    `update` takes `pred` and `density`, both [B, H, W]. A constant map scores 0. See `salvit.metrics.functional.cc`
    for the source, edge cases and errors.

    Example:
        >>> import torch
        >>> metric = CC()
        >>> metric.update(torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[1.0, 3.0, 5.0]]]))
        >>> metric.compute()
        tensor(1.)
    """

    columns = {"CC": "↑"}
    truth = "density"
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(functional.cc(pred, density))


class NSS(SaliencyMetric):
    r"""Normalized scanpath saliency: the mean over images of the standardised prediction at their fixations.

    .. math:: \mathrm{NSS} = \frac{1}{n} \sum_{i=1}^{n} \frac{S(x_i, y_i) - \bar S}{\mathrm{std}(S)}

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are skipped. See `salvit.metrics.functional.nss` for the source, edge cases and errors.

    Args:
        duplicates: whether a pixel fixated k times counts k times; False scores the binary fixation map (MIT).
        ddof: 1 for the sample's standard deviation, 0 for the population's (pysaliency).

    Example:
        >>> import torch
        >>> metric = NSS()
        >>> metric.update(torch.tensor([[[0.0, 1.0, 2.0]]]), [torch.tensor([[2.0, 0.0], [1.0, 0.0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    columns = {"NSS": "↑"}
    truth = "fixations"

    def __init__(self, duplicates: bool = True, ddof: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.duplicates = duplicates
        self.ddof = ddof

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(functional.nss(pred, fixations, duplicates=self.duplicates, ddof=self.ddof))


class SIM(SaliencyMetric):
    r"""Similarity: the mean over images of the histogram intersection of prediction and density.

    .. math:: \mathrm{SIM} = \sum_i \min(p_i, g_i)

    `update` takes `pred` and `density`, both [B, H, W]. A constant map is the uniform distribution. See
    `salvit.metrics.functional.sim` for the source, edge cases and errors.

    Args:
        minmax: whether to min-max the maps first; False is pysaliency's variant.

    Example:
        >>> import torch
        >>> metric = SIM()
        >>> metric.update(torch.tensor([[[1.0, 2.0, 2.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.5000)
    """

    columns = {"SIM": "↑"}
    truth = "density"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, minmax: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minmax = minmax

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(functional.sim(pred, density, minmax=self.minmax))


class KLD(SaliencyMetric):
    r"""Kullback–Leibler divergence: the mean over images of that of the density from the prediction, in nats.

    .. math:: \mathrm{KLD} = \sum_i g_i \ln\left(\varepsilon + \frac{g_i}{p_i + \varepsilon}\right)

    `update` takes `pred` and `density`, both [B, H, W]. An all-zero map is the uniform distribution. See
    `salvit.metrics.functional.kld` for the source, edge cases and errors.

    Example:
        >>> import torch
        >>> metric = KLD()
        >>> metric.update(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.1438)
    """

    columns = {"KLD": "↓"}
    truth = "density"
    plot_lower_bound = 0.0

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(functional.kld(pred, density))


class EMD(SaliencyMetric):
    """Earth mover's distance: the mean over images of how far the prediction's mass has to be moved.

    `update` takes `pred` and `density`, both [B, H, W]. An all-zero map is the uniform distribution. Needs POT, the
    extra `emd`. See `salvit.metrics.functional.emd` for the definition, the source, edge cases and errors.

    Args:
        factor: by how much smaller the maps are made first; the distance is in pixels of the small maps.
        match_histogram: whether the prediction first gets the density's values (MIT).

    Raises:
        ModuleNotFoundError: POT is not installed.

    Example:
        >>> import torch
        >>> metric = EMD(factor=1)  # doctest: +SKIP
        >>> metric.update(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))  # doctest: +SKIP
        >>> metric.compute()  # doctest: +SKIP
        tensor(1.)
    """

    columns = {"EMD": "↓"}
    truth = "density"
    plot_lower_bound = 0.0

    def __init__(self, factor: int = FACTOR, match_histogram: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_pot()
        self.factor = factor
        self.match_histogram = match_histogram

    def update(self, pred: Tensor, density: Tensor) -> None:
        """Score a batch."""
        self.record(functional.emd(pred, density, self.factor, self.match_histogram))


class InformationGain(SaliencyMetric):
    r"""Information gain: the mean over images of that of the prediction over a baseline, in bits per fixation.

    .. math:: \mathrm{IG} = \frac{1}{n} \sum_{i=1}^{n} \log_2(\varepsilon + p(x_i, y_i))
              - \log_2(\varepsilon + b(x_i, y_i))

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are skipped. See `salvit.metrics.functional.information_gain` for the source, edge cases and errors.

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
    truth = "fixations"

    def __init__(self, baseline: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.baseline = None if baseline is None else check_baseline(baseline)

    def mixed(self, density: Tensor, share: float) -> Tensor:
        """A density with a share of the baseline, so that it is nowhere 0 where the baseline is not.

        Args:
            density: [H, W] ≥ 0 with sum 1.
            share: of the baseline, in [0, 1].

        Returns:
            float64 [H, W] with sum 1.
        """
        size = (density.shape[0], density.shape[1])
        baseline = density_of(self.baseline, size).reshape(size).to(density.device)
        return (1 - share) * density.double() + share * baseline

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(functional.information_gain(pred, fixations, self.baseline))
