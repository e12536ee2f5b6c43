"""The scores of predictions on displays with an odd item, by kind of display."""

from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from salvit import results
from salvit.callbacks.outputs import claim, output_folder, require_finite
from salvit.errors import InvalidValueError
from salvit.metrics import PopOut
from salvit.modules.saliency import Batch
from salvit.results import Table


class PopOutScores(Callback):
    """Scores what `predict` predicts on P3 and O3, each map at its image's native size.

    Written as soon as all is predicted, and printed: `popout.md`, a row for each category and one for all images,
    and `popout.csv`, one row per image, empty where a score is not defined.

    Args:
        folder: where to write; created if it is missing. By default the folder of the run.
        limit: number of fixations after which a target counts as not found.
    """

    def __init__(self, folder: str | None = None, limit: int = 100) -> None:
        self.named = folder
        self.folder = Path(folder or ".")
        self.metric = PopOut(limit)
        self.images: list[dict[str, Any]] = []

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
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Score the predictions of a batch.

        Raises:
            ValueError: if the images come without the masks of targets and distractors.
        """
        if "target" not in batch:
            raise InvalidValueError(
                "PopOutScores needs masks of targets and distractors, which these images do not have: use "
                "P3O3DataModule, or leave the callback out."
            )
        for row, (saliency, target, distractors) in enumerate(
            zip(outputs, batch["target"], batch["distractors"], strict=True)
        ):
            require_finite(batch["name"][row], saliency)
            self.metric.update(saliency[None], [target], [distractors])
        images = zip(batch["index"].tolist(), batch["name"], batch["category"], strict=True)
        self.images += [{"index": index, "image": name, "category": kind} for index, name, kind in images]

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; print and write them."""
        rows = results.collect({"all": {"": [self.metric]}}, self.images)
        if not trainer.is_global_zero:
            return
        kinds = rows[["category", "image"]].drop_duplicates()
        images = kinds.join(results.per_image(rows).loc["all"], on="image")
        means = pd.concat([results.means(rows, by="category"), results.means(rows)])
        title = f"{len(images)} images, {self.metric.n_skipped} without scores, fixations up to {self.metric.limit}"
        # A category is no better than another: no score is bold.
        table = Table(title, self.metric.columns, means, rows="category", apart=list(means.index)).markdown()
        Console().print(f"{title}\n\n{table}", markup=False)
        results.write(self.folder, {"popout.md": f"{title}\n\n{table}\n", "popout.csv": images})
