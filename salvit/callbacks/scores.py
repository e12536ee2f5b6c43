"""The scores of a test run: baselines beside the model, every image's scores in a file, a table at the end."""

import csv
import io
import math
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor
from torchmetrics import MetricCollection

from datamodules.base import SaliencyDataModule, SaliencyDataset
from salvit.callbacks.gather import gathered
from salvit.classical import MODEL, REMEDY, has_classical, spectral_residual
from salvit.files import atomic_write
from salvit.metrics import Profile, update_metrics
from salvit.modules.profiles import by_profile, split_metrics
from salvit.modules.saliency import Batch, SaliencyModule
from salvit.observers import UPPER_BOUND, leave_one_out, of_fixations, update_upper_bound
from salvit.report.scores import file_names
from salvit.report.table import columns_of, markdown_table, terminal_table

BASELINES = ("center prior", "random")
_UNITS: dict[Profile, str] = {
    "exact": "KLD in nats, NSS in standard deviations",
    "mit": "KLD in nats, NSS in standard deviations, EMD in pixels of maps 32 times smaller",
    "tuebingen": "KLD in nats, NSS in standard deviations, IG in bits over the train split's center prior",
}

T = TypeVar("T")
Table = dict[str, dict[str, float]]
PerImage = dict[str, dict[str, Tensor]]


class Scores(Callback):
    """Scores baselines during `test`, and prints and writes what came out, a table per profile.

    The center prior is the mean density of the train split; the random map is uniform noise, seeded by the
    image's index; the spectral residual, a classical model, is there where OpenCV's contributed modules are. All are
    scored at each image's native size like the model, under the module's profiles. Where the dataset says whose
    fixations are whose, a last row says how well people predict people (`salvit.observers`). Written to the log folder:
    `scores.md`, the table, `per_image.csv`, one row per image and model, empty where an image could not be scored, and
    where images have categories `categories.md`, the model's scores in each; of another profile than `exact`,
    `scores_PROFILE.md` and so on.

    Args:
        held_out: how many observers of an image, at most, are left out in turn and predicted by all others; 0 leaves
            the row out.
    """

    def __init__(self, held_out: int = 5) -> None:
        self.held_out = held_out
        self.scratch: MetricCollection | None = None
        self.metrics: dict[str, MetricCollection] = {}
        self.names: list[str] = []
        self.validated: list[str] = []
        self.categories: list[str] = []
        self.baselines = (*BASELINES, MODEL) if has_classical() else BASELINES

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the baselines' metrics, those of the model's profiles."""
        assert isinstance(pl_module, SaliencyModule)
        empty = split_metrics(_datamodule(trainer), "test", pl_module.profiles).to(pl_module.device)
        self.metrics = {name: empty.clone() for name in self.baselines}
        self.scratch = None
        if self.held_out and _datamodule(trainer).dataset("test").observers(0) is not None:
            self.metrics[UPPER_BOUND], self.scratch = of_fixations(empty), of_fixations(empty)
        self.names, self.categories = [], []

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
            if MODEL in self.metrics:
                maps[MODEL] = spectral_residual(batch["image"][row])
            for name in self.baselines:
                update_metrics(self.metrics[name], maps[name][None].to(pl_module.device), one)
            if self.scratch is not None:
                self._score_people(data, int(batch["index"][row]), self.scratch)
        self.names += batch["name"]
        self.categories += batch.get("category", [])

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
        names, categories = gathered(self.names), gathered(self.categories)
        for name in self.metrics:
            pl_module.log_dict(
                {f"test/{name}/{key}": value for key, value in rows[name].items()}, rank_zero_only=True
            )
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if trainer.is_global_zero:
            for profile in pl_module.profiles:
                title = title_of(_datamodule(trainer), "test", len(names), profile)
                title += ", untrained decoder" if pl_module.untrained else ""
                scores = _of(profile, per_image)
                _write(folder, title, profile, _of(profile, rows), scores, names)
                if categories and folder is not None:
                    _write_categories(folder, title, profile, scores[_extractor_name(pl_module)], categories)
            if not has_classical():
                Console().print(REMEDY, markup=False, soft_wrap=True)

    def _score_people(self, data: SaliencyDataModule, index: int, scratch: MetricCollection) -> None:
        dataset = data.dataset("test")
        observers = [points for points in dataset.observers(index) or [] if len(points)]
        pairs = leave_one_out(observers, dataset.size(index), _sigma(dataset), self.held_out)
        update_upper_bound(
            self.metrics[UPPER_BOUND], scratch, pairs, dataset.fixations(index), len(observers) - 1
        )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images, which may be fewer than the split has."""
        self.validated = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the images of a batch."""
        self.validated += batch["name"]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last validation scores."""
        images = len(gathered(self.validated))
        logged = trainer.callback_metrics.items()
        scores = {
            name.removeprefix("val/"): float(value) for name, value in logged if name.startswith("val/")
        }
        if trainer.is_global_zero and scores:
            title = title_of(_datamodule(trainer), "val", images)
            Console().print(terminal_table({_extractor_name(pl_module): scores}, title))


def _write(
    folder: str | None, title: str, profile: Profile, rows: Table, per_image: PerImage, names: list[str]
) -> None:
    Console().print(terminal_table(rows, title))
    if folder is None:
        return
    table, images = file_names(profile)
    with atomic_write(f"{folder}/{table}") as file:
        file.write(f"{title}\n\n{markdown_table(rows, columns_of(title))}\n".encode())
    with atomic_write(f"{folder}/{images}") as file:
        file.write(per_image_csv(per_image, names).encode())


def _write_categories(
    folder: str, title: str, profile: Profile, scores: dict[str, Tensor], categories: list[str]
) -> None:
    name = file_names(profile)[0].replace("scores", "categories")
    table = markdown_table(by_category(scores, categories), columns_of(title))
    with atomic_write(f"{folder}/{name}") as file:
        file.write(f"{title}, by category\n\n{table}\n".encode())


def by_category(scores: dict[str, Tensor], categories: list[str]) -> Table:
    """Mean scores of the images of each category, in alphabetical order.

    Args:
        scores: [n] per metric; NaN for an image that could not be scored.
        categories: of the n images.

    Example:
        >>> by_category({"CC": torch.tensor([0.5, 1.0, torch.nan, 0.0])}, ["b", "a", "b", "b"])
        {'a': {'CC': 1.0}, 'b': {'CC': 0.25}}
    """
    table: Table = {}
    for category in sorted(set(categories)):
        of_it = torch.tensor([one == category for one in categories])
        table[category] = {name: float(values.cpu()[of_it].nanmean()) for name, values in scores.items()}
    return table


def _of(profile: Profile, rows: dict[str, dict[str, T]]) -> dict[str, dict[str, T]]:
    """The scores of one profile, by the bare names of its metrics."""
    return {
        model: {
            by_profile(name)[1]: score for name, score in scores.items() if by_profile(name)[0] == profile
        }
        for model, scores in rows.items()
    }


def _extractor_name(module: LightningModule) -> str:
    assert isinstance(module, SaliencyModule)
    return type(module.extractor).__name__ + (", untrained decoder" if module.untrained else "")


def title_of(data: SaliencyDataModule, split: str, images: int, profile: Profile = "exact") -> str:
    """Dataset, release, split, number of images and profile: what a score needs to be comparable."""
    if split == "test" and data.dataset("test") is data.dataset("val"):
        split = "val"  # all that is labelled, as of SALICON
    release = getattr(data, "release", None)
    dataset = type(data).__name__.removesuffix("DataModule") + (f" layout {release}" if release else "")
    return f"{dataset}, {split} split, {images} images, profile {profile} ({_UNITS[profile]})"


def per_image_csv(per_image: dict[str, dict[str, Tensor]], names: list[str]) -> str:
    """One row per model and image; an empty cell where the image could not be scored."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = list(next(iter(per_image.values())))
    writer.writerow(["model", "image", *header])
    for model, metrics in per_image.items():
        columns = [metrics[name].tolist() if name in metrics else [math.nan] * len(names) for name in header]
        for name, *scores in zip(names, *columns, strict=True):
            writer.writerow([model, name, *("" if score != score else f"{score:.6f}" for score in scores)])
    return text.getvalue()


def _means(metrics: MetricCollection) -> dict[str, float]:
    return {_bare(name): float(score) for name, score in metrics.compute().items()}


def _per_image(metrics: MetricCollection) -> dict[str, Tensor]:
    return {_bare(name): metric.per_image() for name, metric in metrics.items()}  # type: ignore[operator]


def _bare(name: str) -> str:
    """Without the prefix of what the model logs: "mit/NSS"."""
    return name.removeprefix("test/")


def _sigma(dataset: SaliencyDataset) -> float:
    """Standard deviation in native pixels of the dataset's densities."""
    sigma = getattr(dataset, "sigma", None)
    if sigma is None:
        raise ValueError(
            "the dataset says whose fixations are whose, but not the sigma of its densities: give it one, or leave "
            "the row of people out with Scores(held_out=0)"
        )
    return float(sigma)


def _noise(index: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(index))


def _datamodule(trainer: Trainer) -> SaliencyDataModule:
    data: SaliencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data
