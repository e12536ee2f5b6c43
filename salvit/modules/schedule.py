"""The optimiser and learning-rate schedule that every module trains with."""

import math
from collections.abc import Iterable

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def adamw_with_warmup(
    parameters: Iterable[Parameter],
    *,
    lr: float,
    weight_decay: float,
    warmup_epochs: float,
    epochs: int,
    steps: int,
) -> OptimizerLRSchedulerConfig:
    """AdamW whose learning rate rises linearly, then falls to 0 along a cosine, stepped once per batch.

    Args:
        parameters: what to train.
        lr: the peak learning rate.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear rise; at most `epochs`.
        epochs: length of the whole schedule.
        steps: optimiser steps in the whole schedule.

    Returns:
        What `LightningModule.configure_optimizers` returns.

    Raises:
        ValueError: if the warm-up is longer than the training.
    """
    if not 0 <= warmup_epochs <= max(epochs, 1):
        raise ValueError(
            f"warmup_epochs={warmup_epochs} does not fit into max_epochs={epochs}: lower the one or raise the other"
        )
    warmup = steps * warmup_epochs / max(epochs, 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    optimizer = AdamW(parameters, lr=lr, weight_decay=weight_decay)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
    }
