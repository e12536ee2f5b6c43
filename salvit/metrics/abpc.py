"""Area between perturbation curves, as a torchmetrics class."""

from torch import Tensor

from salvit.metrics.constant import CountsConstant
from salvit.metrics.curves import CurvePair


class ABPC(CountsConstant, CurvePair):
    r"""Area between the perturbation curves: the mean over images of AUC(LeRF) − AUC(MoRF).

    .. math:: \mathrm{ABPC} = \frac{1}{F} \sum_{k=1}^{F} p^{\mathrm{LeRF}}_k - p^{\mathrm{MoRF}}_k

    `update` takes both curves [B, F] of `salvit.metrics.functional.perturbation_curves`; `compute` returns
    LeRF and MoRF, the areas under the curves as means over their points, and ABPC; `curves` the mean curves.
    Images whose curves are NaN, from a heatmap that was not finite, are left out of the means and counted in
    `n_skipped`; those whose two curves are equal, as a constant heatmap's are (and any of a model of one
    class), are counted in `n_constant`.
    Source: Leem and Seo, "Attention Guided CAM", AAAI 2024.

    Args:
        steps: F, the number of fractions.
        **kwargs: See `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = ABPC(steps=3)
        >>> metric.update(torch.tensor([[0.9, 0.9, 0.0]]), torch.tensor([[0.9, 0.3, 0.0]]))
        >>> {name: round(score.item(), 2) for name, score in metric.compute().items()}
        {'LeRF': 0.6, 'MoRF': 0.4, 'ABPC': 0.2}
        >>> metric.curves()[1]
        tensor([0.9000, 0.3000, 0.0000])
    """

    higher_is_better = True

    def update(self, lerf: Tensor, morf: Tensor) -> None:
        """Keep the curves of a batch."""
        self.record_pair(lerf, morf)
        self.count_constant((lerf == morf).all(1))

    def image_scores(self, rows: Tensor) -> dict[str, Tensor]:
        """Areas under and between the curves of each image."""
        lerf, morf = (curve.mean(1) for curve in rows.split(self.steps, 1))
        return {"LeRF": lerf, "MoRF": morf, "ABPC": lerf - morf}
