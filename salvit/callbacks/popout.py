"""The scores of predictions on displays with an odd item, by kind of display."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console
from torch import Tensor

from salvit.callbacks.gather import gathered
from salvit.callbacks.outputs import claim, output_folder, require_finite
from salvit.files import atomic_write
from salvit.metrics import PopOut
from salvit.modules.saliency import Batch
from salvit.report.table import markdown_table

COLUMNS = {"MSR_targ": "↑", "MSR_bg": "↓", "GSI": "↑", "fixations": "↓", "found": "↑"}


class PopOutScores(Callback):
    """Scores what `predict` predicts on P3 and O3, each map at its image's native size.

    Written as soon as all is predicted, and printed: `popout.md`, a row for each category and one for all images,
    and `popout.csv`, one row per image, empty where a score is not defined.

    Args:
        folder: where to write; made if need be. By default the folder of the run.
        limit: number of fixations after which a target counts as not found.
    """

    def __init__(self, folder: str | None = None, limit: int = 100) -> None:
        self.named = folder
        self.folder = Path(folder or ".")
        self.metric = PopOut(limit)
        self.images: list[tuple[str, str]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, in the folder of the run or the one that was named.

        Raises:
            ValueError: if a table is there that salvit did not write.
        """
        self.folder = output_folder(trainer, self.named)
        claim(self.folder, [(self.folder / name, name) for name in ("popout.md", "popout.csv")])
        self.metric = PopOut(self.metric.limit).to(pl_module.device)
        self.images = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the predictions of a batch.

        Raises:
            MisconfigurationException: if the images come without the masks of targets and distractors.
        """
        if "target" not in batch:
            raise MisconfigurationException(
                "PopOutScores needs masks of targets and distractors, which these images do not have: use "
                "P3O3DataModule, or leave the callback out."
            )
        for row, (saliency, target, distractors) in enumerate(
            zip(outputs, batch["target"], batch["distractors"], strict=True)
        ):
            require_finite(batch["name"][row], saliency)
            self.metric.update(saliency[None], [target], [distractors])
        self.images += zip(batch["name"], batch["category"], strict=True)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; print and write them."""
        scores = torch.stack(list(self.metric.per_image().values()), dim=1).cpu()
        images = gathered(self.images)
        if not trainer.is_global_zero:
            return
        title = f"{len(images)} images, {self.metric.n_skipped} without scores, fixations up to {self.metric.limit}"
        table = _table(scores, [category for _, category in images])
        Console().print(f"{title}\n\n{table}")
        for name, text in (("popout.md", f"{title}\n\n{table}\n"), ("popout.csv", _csv(scores, images))):
            with atomic_write(self.folder / name) as file:
                file.write(text.encode())


def _table(scores: Tensor, categories: list[str]) -> str:
    rows = {
        name: _means(scores[[index for index, other in enumerate(categories) if other == name]])
        for name in sorted(set(categories))
    }
    # A category is no better than another: no score is bold.
    return (
        markdown_table({**rows, "all": _means(scores)}, COLUMNS)
        .replace("**", "")
        .replace("model", "category", 1)
    )


def _means(scores: Tensor) -> dict[str, float]:
    return dict(zip(COLUMNS, scores.double().nanmean(0).tolist(), strict=True))


def _csv(scores: Tensor, images: list[tuple[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["category", "image", *COLUMNS])
    for (name, category), row in zip(images, scores.tolist(), strict=True):
        writer.writerow([category, name, *("" if score != score else f"{score:.6f}" for score in row)])
    return text.getvalue()
