"""The optimiser and learning-rate schedule that every module trains with."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def adamw_with_warmup(
    parameters: Iterable[Parameter],
    trainer: Trainer,
    *,
    lr: float,
    weight_decay: float,
    warmup_epochs: float,
) -> OptimizerLRSchedulerConfig:
    """AdamW whose learning rate rises linearly, then falls to 0 along a cosine, stepped once per batch.

    Args:
        parameters: what to train.
        trainer: says how long the training is, in steps and epochs.
        lr: the peak learning rate.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear rise; none in a `fast_dev_run`, which is a single step.

    Returns:
        What `LightningModule.configure_optimizers` returns.

    Raises:
        ValueError: if the training has no end, or the warm-up is longer than the training.
    """
    trainer.fit_loop.setup_data()  # before it the number of batches is unknown
    if math.isinf(trainer.estimated_stepping_batches):
        raise ValueError("the learning rate falls to 0 at the end of training: set max_epochs or max_steps")
    steps = int(trainer.estimated_stepping_batches)
    steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    warmup = round(warmup_epochs * steps_per_epoch)
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        warmup = 0
    if not 0 <= warmup <= steps:
        raise ValueError(
            f"warmup_epochs={warmup_epochs} ({warmup} steps) does not fit into the training of {steps} steps: "
            "lower the one, or raise max_epochs or max_steps"
        )
    optimizer = AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = LambdaLR(optimizer, partial(warmup_and_cosine, warmup=warmup, steps=steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def keep_configured(checkpoint: dict[str, Any], lr: float, weight_decay: float) -> None:
    """Let the configuration win over the optimiser state of a checkpoint that training goes on from.

    Args:
        checkpoint: of Lightning, changed in place.
        lr: the peak learning rate configured; the present one is scaled with it.
        weight_decay: the one configured.
    """
    for optimizer in checkpoint.get("optimizer_states", []):
        for group in optimizer["param_groups"]:
            group["lr"] *= lr / group["initial_lr"]
            group.update(initial_lr=lr, weight_decay=weight_decay)
    for schedule in checkpoint.get("lr_schedulers", []):
        schedule["base_lrs"] = [lr for _ in schedule["base_lrs"]]


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
