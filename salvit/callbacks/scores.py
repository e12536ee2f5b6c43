"""The scores of a test run: baselines beside the model, every image's scores in a file, a table at the end."""

import csv
import io
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor
from torchmetrics import MetricCollection

from datamodules.base import SaliencyDataModule
from salvit.files import atomic_write
from salvit.metrics import saliency_metrics, update_metrics
from salvit.metrics.collection import PROFILE
from salvit.modules.saliency import Batch, SaliencyModule
from salvit.report.table import markdown_table, terminal_table

BASELINES = ("center prior", "random")


class Scores(Callback):
    """Scores baselines during `test`, and prints and writes what came out.

    The center prior is the mean density of the train split; the random map is uniform noise, seeded by the
    image's index. Both are scored at each image's native size like the model. Written to the log folder: `scores.md`,
    the table, and `per_image.csv`, one row per image and model, empty where an image could not be scored.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, MetricCollection] = {}
        self.names: list[str] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the baselines' metrics, with the same pool of fixations as the model's."""
        data = _datamodule(trainer)
        pool = data.fixation_counts("test", data.dataset("test").size(0)).to(pl_module.device)
        self.metrics = {name: saliency_metrics(pool).to(pl_module.device) for name in BASELINES}
        self.names = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the baselines on a batch."""
        data = _datamodule(trainer)
        for row, size in enumerate(batch["size"]):
            one = {
                "size": [size],
                "density": batch["density"][row][None],
                "fixations": [batch["fixations"][row]],
            }
            maps = {
                "center prior": data.center_prior(tuple(size)),
                "random": _noise(int(batch["index"][row]), tuple(size)),
            }
            for name, metrics in self.metrics.items():
                update_metrics(metrics, maps[name][None].to(pl_module.device), one)
        self.names += batch["name"]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; log, print and write them."""
        assert isinstance(pl_module, SaliencyModule)
        assert pl_module.test_metrics is not None
        collections = {
            _extractor_name(pl_module): pl_module.test_metrics,
            **self.metrics,
        }
        rows = {name: _means(metrics) for name, metrics in collections.items()}
        per_image = {name: _per_image(metrics) for name, metrics in collections.items()}
        names = _gathered(self.names)
        for name in BASELINES:
            pl_module.log_dict(
                {f"test/{name}/{key}": value for key, value in rows[name].items()}, rank_zero_only=True
            )
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if trainer.is_global_zero:
            self._write(_datamodule(trainer), folder, rows, per_image, names)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last validation scores."""
        logged = trainer.callback_metrics.items()
        scores = {
            name.removeprefix("val/"): float(value) for name, value in logged if name.startswith("val/")
        }
        if trainer.is_global_zero and scores:
            title = title_of(_datamodule(trainer), "val", len(_datamodule(trainer).dataset("val")))
            Console().print(terminal_table({_extractor_name(pl_module): scores}, title))

    def _write(
        self,
        data: SaliencyDataModule,
        folder: str | None,
        rows: dict[str, dict[str, float]],
        per_image: dict[str, dict[str, Tensor]],
        names: list[str],
    ) -> None:
        title = title_of(data, "test", len(names))
        Console().print(terminal_table(rows, title))
        if folder is None:
            return
        with atomic_write(f"{folder}/scores.md") as file:
            file.write(f"{title}\n\n{markdown_table(rows)}\n".encode())
        with atomic_write(f"{folder}/per_image.csv") as file:
            file.write(per_image_csv(per_image, names).encode())


def _extractor_name(module: LightningModule) -> str:
    assert isinstance(module, SaliencyModule)
    return type(module.extractor).__name__


def title_of(data: SaliencyDataModule, split: str, images: int) -> str:
    """Dataset, release, split, number of images and profile: what a score needs to be comparable."""
    if split == "test" and data.dataset("test") is data.dataset("val"):
        split = "val"  # all that is labelled, as of SALICON
    release = getattr(data, "release", None)
    dataset = type(data).__name__.removesuffix("DataModule") + (f" layout {release}" if release else "")
    return f"{dataset}, {split} split, {images} images, profile {PROFILE} (KLD in nats, NSS in standard deviations)"


def per_image_csv(per_image: dict[str, dict[str, Tensor]], names: list[str]) -> str:
    """One row per model and image; an empty cell where the image could not be scored."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "image", *next(iter(per_image.values()))])
    for model, metrics in per_image.items():
        columns = [scores.tolist() for scores in metrics.values()]
        for name, *scores in zip(names, *columns, strict=True):
            writer.writerow([model, name, *("" if score != score else f"{score:.6f}" for score in scores)])
    return text.getvalue()


def _means(metrics: MetricCollection) -> dict[str, float]:
    return {name.rpartition("/")[2]: float(score) for name, score in metrics.compute().items()}


def _per_image(metrics: MetricCollection) -> dict[str, Tensor]:
    return {name.rpartition("/")[2]: metric.per_image() for name, metric in metrics.items()}  # type: ignore[operator]


def _noise(index: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(index))


def _datamodule(trainer: Trainer) -> SaliencyDataModule:
    data: SaliencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data


def _gathered(names: list[str]) -> list[str]:
    """Names of all processes, by rank: the order in which metrics gather."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return names
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, names)
    return [name for part in parts for name in part]
