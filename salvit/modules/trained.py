"""What all modules that are trained have in common: the optimiser, and checkpoints that describe their model."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.modules.checkpoint import Description, check_same_model, describe_data, load_described
from salvit.modules.schedule import adamw_with_warmup


class TrainedModule(LightningModule, ABC):
    """A module whose checkpoints hold `description`, which a subclass sets.

    Args:
        lr: peak learning rate of AdamW.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear warm-up before the cosine.

    Raises:
        ValueError: if one is negative or not finite.
    """

    description: Description

    def __init__(self, lr: float, weight_decay: float, warmup_epochs: float) -> None:
        super().__init__()
        for name, value in {"lr": lr, "weight_decay": weight_decay, "warmup_epochs": warmup_epochs}.items():
            if not 0 <= value < math.inf:
                raise InvalidValueError(f"{name}={value:g} must be a number that is not negative")
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.untrained = False

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: str | torch.device | None = None, **options: Any
    ) -> Self:
        """Make the model that a checkpoint describes, with its fitted weights.

        Args:
            checkpoint_path: of a file that `salvit fit` has written; no code in it is run.
            map_location: where to put the model; on the CPU by default.
            **options: arguments of the constructor that replace those in the checkpoint.

        Raises:
            FileNotFoundError, ValueError: if the file cannot be read, or an option describes another model.
        """
        return load_described(cls, checkpoint_path, map_location, options)

    @abstractmethod
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of a batch, a scalar."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW on all parameters that are not frozen."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        options = {"lr": self.lr, "weight_decay": self.weight_decay, "warmup_epochs": self.warmup_epochs}
        return adamw_with_warmup(trained, self.trainer, **options)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description of the model and its data."""
        checkpoint["salvit"] = {**self.description, "data": describe_data(self)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model; keep the configured weight decay."""
        check_same_model(checkpoint.get("salvit"), self.description)
        for optimizer in checkpoint.get("optimizer_states", []):
            for group in optimizer["param_groups"]:
                group["weight_decay"] = self.weight_decay
