"""Writing predictions: a picture for people, floats for scores, an overlay for both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from salvit.callbacks.folder import output_folder
from salvit.files import atomic_write
from salvit.modules.saliency import Batch
from salvit.report.pictures import grey, overlay

Kind = Literal["npy", "png", "overlay"]


class PredictionWriter(BasePredictionWriter):
    """Writes each prediction as soon as its batch is done, so that an interrupt loses one batch at most.

    For an image `name`: `name.npy`, float32 [H0, W0] at native size, to compute scores from; `name.png`, 8-bit
    grey, min-max scaled; `name_overlay.png`. Every file is whole or absent.

    Args:
        folder: where to write; `maps` in the run's folder by default.
        kinds: which of "npy", "png" and "overlay".

    Raises:
        ValueError: if a kind is none of these.
    """

    def __init__(self, folder: str | None = None, kinds: Sequence[Kind] = ("npy", "png", "overlay")) -> None:
        super().__init__(write_interval="batch")
        unknown = set(kinds) - {"npy", "png", "overlay"}
        if unknown or not kinds:
            raise ValueError(f'kinds must be of "npy", "png" and "overlay"; got {list(kinds)}')
        self.named = folder
        self.folder: Path | None = None
        self.kinds = tuple(kinds)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder."""
        self.folder = output_folder(trainer, self.named, "maps")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the predictions of a batch."""
        if self.folder is None:
            return
        for name, image, saliency in zip(batch["name"], batch["image"], prediction, strict=True):
            self._write(self.folder, name, image, saliency)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where they are."""
        if self.folder is not None:
            rank_zero_info(f"predictions are in {self.folder}")

    def _write(self, folder: Path, name: str, image: Tensor, saliency: Tensor) -> None:
        if "npy" in self.kinds:
            with atomic_write(folder / f"{name}.npy") as file:
                np.save(file, saliency.float().cpu().numpy())
        if "png" in self.kinds:
            with atomic_write(folder / f"{name}.png") as file:
                grey(saliency).save(file, format="PNG")
        if "overlay" in self.kinds:
            with atomic_write(folder / f"{name}_overlay.png") as file:
                overlay(image, saliency).save(file, format="PNG")
