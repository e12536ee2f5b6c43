"""The optimiser and learning-rate schedule that every module trains with."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from salvit.errors import InvalidValueError


class WarmupCosine(LambdaLR):
    """A linear rise to the peak learning rate, then a cosine to 0; one step per batch.

    The rate depends on the step only: training that is resumed with another length or peak goes on as training of that
    length and peak. (`SequentialLR` restores the rates of the old length.)

    Args:
        optimizer: whose learning rate is the peak.
        warmup: number of steps of the rise.
        steps: of the whole training.
    """

    def __init__(self, optimizer: Optimizer, warmup: int, steps: int) -> None:
        super().__init__(optimizer, partial(warmup_and_cosine, warmup=warmup, steps=steps))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the step from a checkpoint, and nothing else; Lightning has restored the optimizer before."""
        super().load_state_dict({**state_dict, "base_lrs": self.base_lrs})
        rates = [
            peak * share(self.last_epoch) for peak, share in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
        for group, peak, rate in zip(self.optimizer.param_groups, self.base_lrs, rates, strict=True):
            group.update(initial_lr=peak, lr=rate)
        self._last_lr = rates


def adamw_with_warmup(
    parameters: Iterable[Parameter], trainer: Trainer, *, lr: float, weight_decay: float, warmup_epochs: float
) -> OptimizerLRSchedulerConfig:
    """AdamW whose learning rate rises linearly, then falls to 0 along a cosine, stepped once per batch.

    Args:
        parameters: what to train.
        trainer: says how long the training is, in steps and epochs.
        lr: the peak learning rate.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear rise; where the training is not longer, the rise takes half of it.

    Returns:
        What `LightningModule.configure_optimizers` returns.

    Raises:
        ValueError: if the training has no end.
    """
    trainer.fit_loop.setup_data()  # before it the number of batches is unknown
    if math.isinf(trainer.estimated_stepping_batches):
        raise InvalidValueError(
            "the learning rate falls to 0 at the end of training: set max_epochs or max_steps"
        )
    steps = int(trainer.estimated_stepping_batches)
    steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    warmup = round(warmup_epochs * steps_per_epoch)
    if warmup >= steps:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_warn(
                f"the warm-up of {warmup_epochs:g} epochs ({warmup} steps) does not fit into the training of {steps} "
                f"steps: it takes half of them, {steps // 2}"
            )
        warmup = steps // 2
    optimizer = AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = WarmupCosine(optimizer, warmup, steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_and_cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at a step.

    Args:
        step: from 0.
        warmup: number of steps of linear rise, before the peak at step `warmup`.
        steps: of the whole training, at the end of which the share is 0.

    Example:
        >>> [round(warmup_and_cosine(step, warmup=3, steps=7), 2) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
