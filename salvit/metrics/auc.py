"""Areas under ROC curves of fixations against other pixels of their image; see also `salvit.metrics.shuffled_auc`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from salvit.metrics import functional
from salvit.metrics.base import AreaUnderCurve


class AUC(AreaUnderCurve):
    r"""Exact AUC: the mean over images of the chance that a fixation outranks a random pixel.

    .. math:: \mathrm{AUC} = \frac{1}{n H W} \sum_{i=1}^{n} \sum_{j=1}^{HW} [S_i > S_j] + \tfrac12 [S_i = S_j]

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are skipped. See `salvit.metrics.functional.auc` for edge cases and errors.

    Example:
        >>> import torch
        >>> metric = AUC()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[1.0, 1.0]])])
        >>> metric.compute()
        tensor(0.8750)
    """

    columns = {"AUC": "↑"}

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(functional.auc(pred, fixations))


class AUCBorji(AreaUnderCurve):
    """AUC-Borji: the mean over images of the area under the ROC curve against random pixels.

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images with fewer
    than two fixated pixels are skipped. See `salvit.metrics.functional.auc_borji` for the definition, the source,
    edge cases and errors.

    Args:
        splits: number of draws of random pixels.
        step: between thresholds.
        seed: of the draws.

    Example:
        >>> import torch
        >>> metric = AUCBorji()
        >>> metric.update(torch.zeros(1, 2, 2), [torch.tensor([[0.0, 1.0], [0.0, 0.0]])])
        >>> metric.compute()
        tensor(0.5000)
    """

    columns = {"AUC-Borji": "↑"}

    def __init__(self, splits: int = 100, step: float = 0.1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.splits = splits
        self.step = step
        self.seed = seed

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(functional.auc_borji(pred, fixations, self.splits, self.step, self.seed))


class AUCJudd(AreaUnderCurve):
    """AUC-Judd: the mean over images of the area under the ROC curve with a threshold at each fixated pixel.

    `update` takes `pred` [B, H, W] and `fixations`, B tensors [n, 2] of (x, y) in its pixels. Images without
    fixations are skipped. See `salvit.metrics.functional.auc_judd` for the definition, the source, edge cases and
    errors.

    Args:
        jitter: whether ties are broken by noise.
        seed: of the noise.

    Example:
        >>> import torch
        >>> metric = AUCJudd()
        >>> metric.update(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), [torch.tensor([[0.0, 1.0]])])
        >>> metric.compute()
        tensor(0.8333)
    """

    columns = {"AUC-Judd": "↑"}

    def __init__(self, jitter: bool = True, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.jitter = jitter
        self.seed = seed

    def update(self, pred: Tensor, fixations: Sequence[Tensor]) -> None:
        """Score a batch."""
        self.record(functional.auc_judd(pred, fixations, self.jitter, self.seed))
