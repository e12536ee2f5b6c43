"""The results of an explanation run: tables, a line per image, curves."""

import csv
import inspect
import io
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

from datamodules.base import SaliencyDataModule
from salvit.callbacks.gather import gathered
from salvit.files import atomic_write
from salvit.metrics import ABPC
from salvit.metrics.functional.bootstrap import bootstrap_differences
from salvit.metrics.functional.perturbation import FRACTIONS
from salvit.metrics.rows import PerImageRows
from salvit.modules.explanation import IRRELEVANT, ExplanationModule
from salvit.report.methods_table import Cell, MethodsTable, cell
from salvit.report.perturbation import draw_perturbation
from salvit.report.published import published_rows, sources

Cells = dict[str, dict[str, Cell]]


class ExplanationScores(Callback):
    """Prints and writes what came out of a test of the ExplanationModule.

    One table, which is printed, has for each method agreement with people, localisation and faithfulness, as far as
    the dataset allows; further ones have every score of a group with its 95 % bootstrap interval, and published rows
    beside ours, in which case they are printed too.
    Written to the log folder: `scores.md`, `scores.csv` (a row per method and score), `per_image.csv` (a row per method
    and image, empty where an image could not be scored), `differences.csv` (a row per pair of methods and score: the
    difference of means, with the interval of a bootstrap over the images that all were scored on), `curves.csv` and
    `curves.png` (perturbation). Scores go to every logger as `test/METHOD/SCORE`, tables and curves to W&B where it is
    on.
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say what an interrupt has left."""
        assert isinstance(pl_module, ExplanationModule)
        if isinstance(exception, KeyboardInterrupt) and pl_module.results is not None:
            done = f"{len(pl_module.names)} images are kept in {pl_module.results}"
            rank_zero_info(f"interrupted: the results of {done}; the same command goes on from there")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; log, print and write them."""
        assert isinstance(pl_module, ExplanationModule)
        data: SaliencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        cells, per_image, curves = {}, {}, {}
        for method, metrics in pl_module.metrics.items():
            cells[method], per_image[method] = _results(list(metrics.values()))
            for metric in metrics.values():
                if isinstance(metric, ABPC):
                    curves[method] = metric.curves()
        order = torch.tensor(gathered(pl_module.indices)).argsort().tolist()
        names = _ordered(gathered(pl_module.names), order)
        about = {method: _ordered(gathered(images), order) for method, images in pl_module.about.items()}
        per_image = {method: {k: s[order] for k, s in scores.items()} for method, scores in per_image.items()}
        logged = {f"test/{m}/{name}": one.mean for m, row in cells.items() for name, one in row.items()}
        pl_module.log_dict(logged, sync_dist=True)  # equal on all processes
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero:
            return
        tables = make_tables(pl_module, type(data).__name__, cells)
        notes = [describe(pl_module, data, len(names)), *remarks(about, pl_module)]
        notes += [f"published: {source}" for source in sources(type(data).__name__)]
        console = Console()
        for table in tables:
            if table is tables[0] or table.published:
                console.print(*table.terminal(console.width), sep="\n")
        console.print("\n".join(notes), soft_wrap=True, highlight=False)
        if folder is not None and len(tables) > 1:
            console.print(
                f"every score with its interval: {folder}/scores.md", soft_wrap=True, highlight=False
            )
        figure = draw_perturbation(curves, FRACTIONS) if curves else None
        if folder is not None:
            _write(folder, "scores.md", "\n\n".join([*(t.markdown() for t in tables), *notes]) + "\n")
            _write(folder, "scores.csv", _scores_csv(cells, per_image))
            _write(folder, "per_image.csv", _per_image_csv(per_image, names, about))
            if len(per_image) > 1:
                _write(folder, "differences.csv", _differences_csv(per_image))
            if figure is not None:
                _write(folder, "curves.csv", _curves_csv(curves))
                with atomic_write(f"{folder}/curves.png") as file:
                    figure.savefig(file, format="png", dpi=130)
        _to_wandb(trainer, tables, figure)


def make_tables(module: ExplanationModule, dataset: str, cells: Cells) -> list[MethodsTable]:
    """The table of all groups, then one per group.

    Args:
        module: after its test.
        dataset: class name of the datamodule, for published rows.
        cells: by score, by method.
    """
    groups: dict[str, dict[str, str]] = {}
    headline: dict[str, str] = {}
    for score in module.active_scores:
        groups.setdefault(score.group, {}).update(score.columns)
        headline.update({name: score.columns[name] for name in score.headline})
    means = {method: {name: Cell(one.mean) for name, one in row.items()} for method, row in cells.items()}
    tables = [MethodsTable("all groups", headline, means)] if len(groups) > 1 else []
    for group, columns in groups.items():
        published = {
            method: {name: Cell(value) for name, value in row.items()}
            for method, row in published_rows(dataset, columns).items()
        }
        title = f"{group}; mean ± half the 95 % bootstrap interval"
        tables.append(MethodsTable(title, columns, {**cells, **published}, frozenset(published)))
    return tables


def describe(module: ExplanationModule, data: SaliencyDataModule, images: int) -> str:
    """What a score needs to be comparable: dataset, split, images, model, class explained, scores' options."""
    release = getattr(data, "release", None)
    dataset = type(data).__name__.removesuffix("DataModule") + (f" {release}" if release else "")
    settings = [f"{key}={value}" for key, value in changed_options(data).items() if key not in IRRELEVANT]
    changed = {type(score).__name__: score.changed_options() for score in module.active_scores}
    options = [f"{name} {key}={value}" for name, options in changed.items() for key, value in options.items()]
    asked = (
        "its label"
        if module.target == "label" and "label" in data.dataset("test")[0]
        else "the predicted one"
    )
    facts = [
        f"{dataset}, {data.split_name('test')} split, {images} images",
        *settings,
        *getattr(data, "notes", []),
        f"{module.model_name} at {'×'.join(map(str, data.image_size))}",
        f"class explained: {asked}",
        *options,
    ]
    return "; ".join(facts)


def remarks(about: Mapping[str, list[dict[str, Any]]], module: ExplanationModule) -> list[str]:
    """What was left out, and heatmaps that say nothing."""
    first = next(iter(about.values()))
    wrong = sum(not image["correct"] for image in first)
    lines = []
    if any(score.correct_only for score in module.active_scores):
        lines.append(
            f"localisation: {len(first) - wrong} of {len(first)} images; {wrong} misclassified ones are left out"
        )
    for kind in ("constant", "not finite"):
        counts = {
            method: sum(image["heatmap"] == kind for image in images) for method, images in about.items()
        }
        if any(counts.values()):
            found = ", ".join(f"{method} {count}" for method, count in counts.items() if count)
            lines.append(f"heatmaps that are {kind}: {found}")
    return lines


def changed_options(data: SaliencyDataModule) -> dict[str, Any]:
    """Options of a datamodule that are not the default ones."""
    defaults = {name: parameter.default for one in type(data).__mro__ for name, parameter in _parameters(one)}
    own = {name: parameter.default for name, parameter in _parameters(type(data))}
    known = {**defaults, **own, "image_size": data.hparams.get("image_size")}  # said with the model
    return {name: value for name, value in data.hparams.items() if value != known.get(name, value)}


def _parameters(one: type) -> list[tuple[str, inspect.Parameter]]:
    return list(inspect.signature(one).parameters.items()) if one is not object else []


def _ordered(items: list[Any], order: list[int]) -> list[Any]:
    """Items in the dataset's order, however many processes they came from."""
    return [items[position] for position in order]


def _results(metrics: list[PerImageRows]) -> tuple[dict[str, Cell], dict[str, Tensor]]:
    """Cells, and scores per image, of all metrics of a method."""
    cells, per_image = {}, {}
    for metric in metrics:
        means, images = metric.compute(), metric.per_image()
        per_image.update(images)
        cells.update({name: cell(float(mean), images.get(name)) for name, mean in means.items()})
    return cells, per_image


def _scores_csv(cells: Cells, per_image: Mapping[str, Mapping[str, Tensor]]) -> str:
    rows = [["method", "score", "mean", "low", "high", "images"]]
    for method, row in cells.items():
        for name, one in row.items():
            scores = per_image[method].get(name)
            count = "" if scores is None else str(int(scores.isfinite().sum()))
            rows.append([method, name, *(_number(value) for value in one), count])
    return _csv(rows)


def _per_image_csv(
    per_image: Mapping[str, Mapping[str, Tensor]], names: list[str], about: Mapping[str, list[dict[str, Any]]]
) -> str:
    columns = list(next(iter(per_image.values())))
    rows = [["method", "image", "correct", "heatmap", *columns]]
    for method, scores in per_image.items():
        values = zip(*(scores[name].tolist() for name in columns), strict=True)
        for name, image, row in zip(names, about[method], values, strict=True):
            rows.append([method, name, str(image["correct"]), image["heatmap"], *map(_number, row)])
    return _csv(rows)


def _differences_csv(per_image: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Of images with a score for every method: which of two methods is better is asked on the same images."""
    methods = list(per_image)
    rows = [["score", "method", "other", "difference", "low", "high", "images"]]
    for name in next(iter(per_image.values())):
        scores = torch.stack([per_image[method][name] for method in methods])
        count = str(int((~scores.isnan()).all(0).sum()))
        differences = [part.tolist() for part in bootstrap_differences(scores)]
        for i, method in enumerate(methods):
            for j, other in enumerate(methods):
                if i != j:
                    rows.append([name, method, other, *(_number(part[i][j]) for part in differences), count])
    return _csv(rows)


def _curves_csv(curves: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    rows = [["method", "curve", *(f"{fraction:g}" for fraction in FRACTIONS)]]
    for method, pair in curves.items():
        for name, curve in zip(("LeRF", "MoRF"), pair, strict=True):
            rows.append([method, name, *map(_number, curve.tolist())])
    return _csv(rows)


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _number(value: float) -> str:
    return "" if value != value else f"{value:.6f}"


def _write(folder: str, name: str, text: str) -> None:
    with atomic_write(f"{folder}/{name}") as file:
        file.write(text.encode())


def _to_wandb(trainer: Trainer, tables: list[MethodsTable], figure: Figure | None) -> None:
    for logger in trainer.loggers:
        if not isinstance(logger, WandbLogger):
            continue
        for table in tables:
            rows = [
                [method, *(row[name].mean if name in row else None for name in table.columns)]
                for method, row in table.rows.items()
            ]
            logger.log_table(f"test/{table.title.partition(';')[0]}", ["method", *table.columns], rows)
        if figure is not None:
            logger.log_image("test/curves", [figure])
