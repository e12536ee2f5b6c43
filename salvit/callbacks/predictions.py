"""Writing predictions as floats, grey pictures and overlays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from salvit.callbacks.outputs import claim, output_folder, predicted_dataset, require_finite
from salvit.errors import InvalidValueError
from salvit.modules.saliency import Batch
from salvit.report.pictures import grey, overlay
from salvit.results.atomic import atomic_write, output_path

Kind = Literal["npy", "png", "overlay"]
_ENDINGS: dict[Kind, str] = {"npy": ".npy", "png": ".png", "overlay": "_overlay.png"}


class PredictionWriter(Callback):
    """Writes each prediction as soon as its batch is done: an interrupt loses one batch at most.

    For an image `name`: `name.npy`, float32 [H0, W0] at native size, to compute scores from; `name.png`, 8-bit
    grey, min-max scaled; `name_overlay.png`. Every file is whole or absent. Before anything is computed, `predict`
    stops if two images would have the same file (`a.png` with its overlay and `a_overlay.png`) or if a file is
    there that salvit did not write; and at the first map that is not finite.

    Args:
        folder: where to write; created if it is missing. By default `maps` in the folder of the run.
        kinds: which of "npy", "png" and "overlay".

    Raises:
        ValueError: if a kind is none of these.
    """

    def __init__(self, folder: str | None = None, kinds: Sequence[Kind] = ("npy", "png", "overlay")) -> None:
        unknown = set(kinds) - _ENDINGS.keys()
        if unknown or not kinds:
            raise InvalidValueError(f'kinds must be of "npy", "png" and "overlay"; got {list(kinds)}')
        self.named = folder
        self.folder = Path(folder or "maps")
        self.kinds = tuple(kinds)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the folder.

        Raises:
            ValueError: if two images would have the same file, or a file is there that salvit did not write.
        """
        self.folder = output_folder(trainer, self.named, "maps")
        dataset = predicted_dataset(trainer)
        names = [] if dataset is None else [dataset.name(index) for index in range(len(dataset))]
        claim(self.folder, [(self._path(name, kind), name) for name in names for kind in self.kinds], dataset)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Write the predictions of a batch.

        Raises:
            ValueError: at the first map that is not finite.
        """
        for name, image, saliency in zip(batch["name"], batch["image"], outputs, strict=True):
            require_finite(name, saliency)
            for kind in self.kinds:
                with atomic_write(self._path(name, kind)) as file:
                    if kind == "npy":
                        np.save(file, saliency.float().cpu().numpy())
                    else:
                        picture = grey(saliency) if kind == "png" else overlay(image, saliency)
                        # Level 1 is 4 times as fast as the default, for files that are little larger.
                        picture.save(file, format="PNG", compress_level=1)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where they are."""
        rank_zero_info(f"predictions are in {self.folder}")

    def _path(self, name: str, kind: Kind) -> Path:
        return output_path(self.folder, name, _ENDINGS[kind])
