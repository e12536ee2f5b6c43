"""The scores of a test of a saliency model and of baselines: tables, and a row per image."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torchmetrics import MetricCollection

from datamodules.base import SaliencyDataModule, SaliencyDataset
from salvit import results
from salvit.callbacks.wandb_panels import log_scores, wandb_loggers
from salvit.errors import InvalidValueError
from salvit.metrics import looked_at, update_metrics
from salvit.metrics.base import columns_of
from salvit.metrics.profiles import by_profile, split_metrics
from salvit.modules.saliency import Batch, SaliencyModule
from salvit.results import Table
from salvit.results.classical import MODEL, REMEDY, has_classical, spectral_residual
from salvit.results.observers import UPPER_BOUND, leave_one_out, of_fixations, update_upper_bound

BASELINES = ("center prior", "random")


class Scores(Callback):
    """Scores baselines during `test`, and prints and writes the scores, a table per profile.

    The center prior is the mean density of the train split; the random map is uniform noise, seeded by the image's
    index; the spectral residual, a classical model, needs OpenCV's contributed modules. All are scored like the model.
    If the dataset knows the observer of each fixation, a last row says how well people predict people
    (`salvit.results.observers`). Images without fixations or with an empty density are left out, and the title counts
    them. Written to the log folder: `scores.md`, the table; `per_image.csv`, a row per image and model, empty where an
    image could not be scored; `categories.md`, the model's scores by category of image; `scores_PROFILE.md` and so on
    for other profiles than `exact`; and `scores.json`, with dataset, split, profile and columns. W&B gets the table as
    `test/table`, and the model's row alone as `test/scores`, after a fit as `val/scores`, in columns that all runs
    share.

    Args:
        held_out: the most observers of an image that are left out in turn and predicted by all others; 0 leaves out
            the row.
    """

    def __init__(self, held_out: int = 5) -> None:
        self.held_out = held_out
        self.scratch: MetricCollection | None = None
        self.metrics: dict[str, MetricCollection] = {}
        self.images: list[dict[str, Any]] = []
        self.counted: list[bool] = []
        self.baselines = (*BASELINES, MODEL) if has_classical() else BASELINES

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the baselines' metrics, those of the model's profiles."""
        assert isinstance(pl_module, SaliencyModule)
        empty = split_metrics(_datamodule(trainer), "test", pl_module.profiles).to(pl_module.device)
        self.metrics = {name: empty.clone() for name in self.baselines}
        self.scratch = None
        if self.held_out and _datamodule(trainer).dataset("test").observers(0) is not None:
            self.metrics[UPPER_BOUND], self.scratch = of_fixations(empty), of_fixations(empty)
        self.images, self.counted = [], []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Score the baselines on a batch."""
        data, counted = _datamodule(trainer), looked_at(batch)
        for row, size in enumerate(batch["size"]):
            index = int(batch["index"][row])
            one = {
                "size": [size],
                "density": batch["density"][row][None],
                "fixations": [batch["fixations"][row]],
            }
            maps = {
                "center prior": data.center_prior(tuple(size)),
                "random": torch.rand(tuple(size), generator=torch.Generator().manual_seed(index)),
            }
            if MODEL in self.metrics:
                maps[MODEL] = spectral_residual(batch["image"][row])
            for name in self.baselines:
                update_metrics(self.metrics[name], maps[name][None].to(pl_module.device), one)
            if self.scratch is not None:
                self._score_people(data, index, counted[row], self.scratch)
            category = {"category": batch["category"][row]} if "category" in batch else {}
            self.images.append({"index": index, "image": batch["name"][row], **category})
        self.counted += counted

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; log, print and write them."""
        assert isinstance(pl_module, SaliencyModule)
        assert pl_module.test_metrics is not None
        model = pl_module.model_name
        collections = {model: pl_module.test_metrics, **self.metrics}
        profiles = {name: by_profile(metrics) for name, metrics in collections.items()}
        rows = results.collect(profiles, self.images)
        counted = results.gathered(self.counted)
        for name, collection in self.metrics.items():
            logged = {f"test/{name}/{key}": value for key, value in collection.compute().items()}
            pl_module.log_dict(logged, rank_zero_only=True)
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero:
            return
        about: dict[str, Any] = {**results.facts(_datamodule(trainer), "test", counted), "tables": []}
        files: dict[str, Any] = {}
        for profile, metrics in profiles[model].items():
            columns, suffix = columns_of(metrics), "" if profile == "exact" else f"_{profile}"
            scored = rows[rows["profile"] == profile]
            title = results.title(about, profile, columns)
            title += ", untrained decoder" if pl_module.untrained else ""
            table = Table(title, columns, results.means(scored), apart=[UPPER_BOUND])
            images = results.per_image(scored)[list(columns)].reset_index()
            fewer = _fewer(images[images["model"] == model], about["images"] - about["left_out"], columns)
            files |= {
                f"scores{suffix}.md": f"{title}\n\n{table.markdown()}\n{fewer}",
                f"per_image{suffix}.csv": images,
            }
            if "category" in scored:
                means = results.means(scored[scored["model"] == model], by="category")
                kinds = Table(f"{title}, by category", columns, means).markdown()
                files[f"categories{suffix}.md"] = f"{title}, by category\n\n{kinds}\n"
            about["tables"].append(
                {"profile": profile, "columns": columns, "per_image": f"per_image{suffix}.csv"}
            )
            _print(table, fewer)
            _to_wandb(trainer, pl_module, table, suffix)
        if folder is not None:
            results.write(folder, {**files, "scores.json": about})  # the last: where it is, all is
        if not has_classical():
            Console().print(REMEDY, markup=False, soft_wrap=True)

    def _score_people(
        self, data: SaliencyDataModule, index: int, counted: bool, scratch: MetricCollection
    ) -> None:
        dataset = data.dataset("test")
        observers = [points for points in dataset.observers(index) or [] if len(points)]
        pairs = leave_one_out(observers, dataset.size(index), _sigma(dataset), self.held_out)
        update_upper_bound(
            self.metrics[UPPER_BOUND],
            scratch,
            pairs if counted else [],
            dataset.fixations(index),
            len(observers) - 1,
        )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images, which may be fewer than the split has."""
        self.counted = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Count the images of a batch."""
        self.counted += looked_at(batch)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last validation scores."""
        assert isinstance(pl_module, SaliencyModule)
        counted = results.gathered(self.counted)
        if trainer.is_global_zero and pl_module.val_metrics is not None:
            columns = columns_of(by_profile(pl_module.val_metrics)["exact"])
            scores = {name: float(trainer.callback_metrics[f"val/{name}"]) for name in columns}
            title = results.title(results.facts(_datamodule(trainer), "val", counted), "exact", columns)
            means = pd.DataFrame(scores, index=[pl_module.model_name])
            _print(Table(title, columns, means))
            log_scores(trainer, pl_module, "val/scores", columns, means)


def _fewer(scores: pd.DataFrame, images: int, columns: Iterable[str]) -> str:
    """A line with the columns that are means over fewer images than the others."""
    counts = {name: int(scores[name].count()) for name in columns}
    named = ", ".join(f"{name} {count}" for name, count in counts.items() if count < images)
    return f"\nscored on fewer than {images} images: {named}\n" if named else ""


def _to_wandb(trainer: Trainer, module: SaliencyModule, table: Table, suffix: str) -> None:
    log_scores(trainer, module, f"test/scores{suffix}", table.columns, table.means.loc[[module.model_name]])
    for logger in wandb_loggers(trainer):
        rows = table.means.reindex(columns=list(table.columns)).set_axis(table.header, axis="columns")
        logger.log_table(f"test/table{suffix}", dataframe=rows.rename_axis(index="model").reset_index())


def _print(table: Table, note: str = "") -> None:
    console = Console()
    console.print(*table.terminal(console.width), sep="\n")
    console.print(note, end="", soft_wrap=True, highlight=False)


def _sigma(dataset: SaliencyDataset) -> float:
    """Standard deviation in native pixels of the dataset's densities."""
    sigma = getattr(dataset, "sigma", None)
    if sigma is None:
        raise InvalidValueError(
            "the dataset names the observer of each fixation, but not the sigma of its densities: give it a sigma, "
            "or leave out the row inter-observer with Scores(held_out=0)"
        )
    return float(sigma)


def _datamodule(trainer: Trainer) -> SaliencyDataModule:
    data: SaliencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data
