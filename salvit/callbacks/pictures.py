"""Pictures of image, ground truth and prediction, in the log folder and on W&B."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salvit.callbacks.wandb_panels import log_pictures, wandb_loggers
from salvit.metrics import ImageMetric, at_native_size
from salvit.modules.saliency import Batch, SaliencyModule
from salvit.report.grid import thumbnail
from salvit.report.pictures import heat, overlay, panel, photo
from salvit.results.files import write

LABELS = ("image", "ground truth", "prediction", "overlay")


class Pictures(Callback):
    """Draws a panel of the first images of every validation and test.

    Written to `pictures/` in the log folder as PNG, over the earlier ones, and to W&B. In W&B a test also logs a table,
    `test/images`, with each image's pictures and scores.

    Args:
        count: images in the panel; at most one batch.
    """

    def __init__(self, count: int = 6) -> None:
        self.count = count

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        *_: Any,
    ) -> None:
        """Draw the first validation batch."""
        if batch_idx == 0 and not trainer.sanity_checking:
            self._draw(trainer, pl_module, outputs, batch, "val")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        *_: Any,
    ) -> None:
        """Draw the first test batch."""
        if batch_idx == 0:
            self._draw(trainer, pl_module, outputs, batch, "test")

    def _draw(self, trainer: Trainer, module: LightningModule, pred: Any, batch: Batch, split: str) -> None:
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero or folder is None:
            return
        count = min(self.count, len(pred))
        maps = list(at_native_size(pred[:count], batch["size"][:count]))
        rows = []
        for image, density, saliency in zip(batch["image"][:count], batch["density"], maps, strict=False):
            shown = photo(image).resize((saliency.shape[1], saliency.shape[0]))
            rows.append([shown, heat(density), heat(saliency), overlay(image, saliency)])
        picture = panel(rows, LABELS)
        write(folder, {f"pictures/{split}.png": picture})
        for logger in wandb_loggers(trainer):
            logger.log_image(f"{split}/pictures", [picture], caption=[", ".join(batch["name"][:count])])
        if split == "test":
            scores = first_scores(module, count)
            cells = zip(batch["name"][:count], rows, *scores.values(), strict=True)
            table = [[name, *map(thumbnail, shown), *values] for name, shown, *values in cells]
            log_pictures(wandb_loggers(trainer), "test/images", ["name", *LABELS, *scores], table)


def first_scores(module: LightningModule, count: int) -> dict[str, list[float]]:
    """The test scores of the first images of this process, by score; NaN where an image could not be scored."""
    if not isinstance(module, SaliencyModule) or module.test_metrics is None:
        return {}
    metrics = module.test_metrics.items(keep_base=True)
    return {
        name: metric.rows()[:count, 0].tolist() for name, metric in metrics if isinstance(metric, ImageMetric)
    }
