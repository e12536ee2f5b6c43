"""The results of an explanation run: tables, a line per image, curves."""

import inspect
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure
from rich.console import Console

from datamodules.base import SaliencyDataModule
from salvit import results
from salvit.callbacks.wandb_panels import log_scores, wandb_loggers
from salvit.metrics import ABPC, ImageMetric
from salvit.metrics.base import columns_of
from salvit.metrics.functional.faithfulness import FRACTIONS
from salvit.modules.explanation import IRRELEVANT, ExplanationModule
from salvit.report.curves import draw_perturbation
from salvit.report.published import method_sources, published_methods
from salvit.results import Table


class ExplanationScores(Callback):
    """Prints and writes the results of a test of the ExplanationModule.

    One table, which is printed, has the main scores of all methods. One table for each group has all its scores with
    95 % bootstrap intervals, and is printed if it has published rows.
    Written to the log folder: `scores.md`; `scores.csv`, a row per method and score; `per_image.csv`, a row per method
    and image, empty where an image could not be scored; `differences.csv`, a row per pair of methods and score: the
    difference of means with its bootstrap interval; `curves.csv` and `curves.png` of the perturbation; and
    `scores.json`, which describes the tables. Scores go to every logger as `test/METHOD/SCORE`, tables and curves to
    W&B, and there to `test/scores`, a row per method in columns that other runs share.
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """After Ctrl-C, say how many results are cached."""
        assert isinstance(pl_module, ExplanationModule)
        if isinstance(exception, KeyboardInterrupt) and pl_module.results is not None:
            done = f"{len(pl_module.images)} images are kept in {pl_module.results}"
            rank_zero_info(f"interrupted: the results of {done}; the same command goes on from there")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; log, print and write them."""
        assert isinstance(pl_module, ExplanationModule)
        data: SaliencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        rows = results.collect(
            {name: by_group(metrics) for name, metrics in pl_module.metrics.items()}, pl_module.images
        )
        curves = _curves(pl_module)
        known = [
            {"model": method, **image, **about}
            for method, several in pl_module.about.items()
            for image, about in zip(pl_module.images, several, strict=True)
        ]
        about = pd.DataFrame(results.gathered(known)).astype(
            {key: rows[key].dtype for key in ("model", "image")}
        )
        counted = results.gathered(pl_module.counted)
        scores = results.summary(rows)
        logged = scores[["model", "score", "mean"]].itertuples(index=False)
        pl_module.log_dict({f"test/{m}/{s}": mean for m, s, mean in logged}, sync_dist=True)  # equal on all
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero:
            return
        facts = results.facts(data, "test", [True] * rows["image"].nunique())
        tables = make_tables(pl_module, facts["dataset"], scores)
        images = about.join(results.per_image(rows), on=["model", "image"]).sort_values(["model", "index"])
        fields = {
            **facts,
            "settings": settings(pl_module, data),
            "tables": [{"group": group, "columns": one.columns} for group, one in tables.items()],
        }
        notes = [
            "; ".join([results.describe(fields), *fields["settings"]]),
            *remarks(about, counted, pl_module),
        ]
        notes += [f"published: {source}" for source in method_sources(facts["dataset"])]
        figure = draw_perturbation(curves) if len(curves) else None
        _print(tables, notes, folder)
        if folder is not None:
            texts = [f"**{table.title}**\n\n{table.markdown()}" for table in tables.values()]
            files: dict[str, Any] = {
                "scores.md": "\n\n".join([*texts, *notes]) + "\n",
                "scores.csv": scores,
                "per_image.csv": images.drop(columns="index"),
                "differences.csv": results.differences(rows) if len(pl_module.methods) > 1 else None,
                "curves.csv": curves.rename(columns="{:g}".format).reset_index() if len(curves) else None,
                "curves.png": figure,
                "scores.json": fields,  # the last: where it is, all is
            }
            results.write(folder, {name: _of_methods(content) for name, content in files.items()})
        _to_wandb(trainer, tables, figure)
        means = scores.astype({"model": str, "score": str}).pivot(
            index="model", columns="score", values="mean"
        )
        columns = columns_of(pl_module.active_scores)
        log_scores(trainer, pl_module, "test/scores", columns, means.loc[list(pl_module.methods)])


def by_group(metrics: list[ImageMetric]) -> dict[str, list[ImageMetric]]:
    """Metrics by the table that they belong to, in order."""
    groups: dict[str, list[ImageMetric]] = {}
    for metric in metrics:
        groups.setdefault(metric.group, []).append(metric)
    return groups


def make_tables(module: ExplanationModule, dataset: str, scores: pd.DataFrame) -> dict[str, Table]:
    """The table of all groups, then one per group, by group.

    Args:
        module: after its test.
        dataset: the dataset, whose published rows are shown, too.
        scores: from `salvit.results.summary`.
    """
    order = scores["model"].unique()
    wide = scores.astype({"model": str, "score": str}).pivot(index="model", columns="score").loc[list(order)]
    mean, spread = wide["mean"], (wide["high"] - wide["low"]) / 2
    groups = {group: columns_of(metrics) for group, metrics in by_group(module.active_scores).items()}
    headline = {
        name: score.columns[name]
        for score in module.active_scores
        for name in score.headline or score.columns
    }
    tables = {"all groups": Table("all groups", headline, mean, rows="method")} if len(groups) > 1 else {}
    for group, columns in groups.items():
        published = published_methods(dataset, columns)
        means = pd.concat([mean, published])
        title = f"{group}; mean ± half the 95 % bootstrap interval"
        tables[group] = Table(
            title, columns, means, spread.reindex(means.index), "method", list(published.index)
        )
    return tables


def settings(module: ExplanationModule, data: SaliencyDataModule) -> list[str]:
    """What a comparison needs to know: options of data and scores, model, and the explained class."""
    changed = {type(score).__name__: score.changed_options() for score in module.active_scores}
    labelled = module.target == "label" and "label" in data.dataset("test")[0]
    return [
        *(f"{key}={value}" for key, value in changed_options(data).items() if key not in IRRELEVANT),
        *getattr(data, "notes", []),
        f"{module.model_name} at {'×'.join(map(str, data.image_size))}",
        f"class explained: {'its label' if labelled else 'the predicted one'}",
        *(f"{name} {key}={value}" for name, options in changed.items() for key, value in options.items()),
    ]


def remarks(about: pd.DataFrame, counted: list[bool], module: ExplanationModule) -> list[str]:
    """Images that were left out, and heatmaps that are constant or not finite."""
    lines = []
    if left_out := counted.count(False):
        lines.append(f"agreement with people: {left_out} of {len(counted)} images without fixations left out")
    if any(score.correct_only for score in module.active_scores):
        correct = about.loc[about["model"] == about["model"].iloc[0], "correct"]
        wrong = int((~correct).sum())
        lines.append(
            f"localisation: {correct.sum()} of {len(correct)} images; {wrong} misclassified ones are left out"
        )
    for kind in ("constant", "not finite"):
        counts = about[about["heatmap"] == kind].groupby("model", observed=True).size()
        if len(counts):
            found = ", ".join(f"{method} {count}" for method, count in counts.items())
            lines.append(f"heatmaps that are {kind}: {found}")
    return lines


def changed_options(data: SaliencyDataModule) -> dict[str, Any]:
    """Options of a datamodule that are not the default ones; of the image size it is said with the model."""
    known = {"image_size": data.hparams.get("image_size")}
    for one in type(data).__mro__[:-1]:
        for name, parameter in inspect.signature(one).parameters.items():
            known.setdefault(name, parameter.default)
    return {name: value for name, value in data.hparams.items() if value != known.get(name, value)}


def _curves(module: ExplanationModule) -> pd.DataFrame:
    """Mean perturbation curves: a row per method and curve, a column per share of pixels removed."""
    curves = {
        (method, name): curve.tolist()
        for method, metrics in module.metrics.items()
        for metric in metrics
        if isinstance(metric, ABPC)
        for name, curve in zip(("LeRF", "MoRF"), metric.curves(), strict=True)
    }
    table = pd.DataFrame.from_dict(curves, orient="index", columns=FRACTIONS if curves else None)
    table.index = pd.MultiIndex.from_tuples(curves, names=["method", "curve"])
    return table


def _of_methods(content: Any) -> Any:
    """A row of these tables is a method."""
    return content.rename(columns={"model": "method"}) if isinstance(content, pd.DataFrame) else content


def _print(tables: dict[str, Table], notes: list[str], folder: str | None) -> None:
    console = Console()
    first = next(iter(tables.values()))
    for table in tables.values():
        if table is first or table.apart:
            console.print(*table.terminal(console.width), sep="\n")
    if folder is not None and len(tables) > 1:
        notes = [*notes, f"every score with its interval: {folder}/scores.md"]
    console.print("\n".join(notes), soft_wrap=True, highlight=False, markup=False)


def _to_wandb(trainer: Trainer, tables: dict[str, Table], figure: Figure | None) -> None:
    for logger in wandb_loggers(trainer):
        for group, table in tables.items():
            rows = table.means.reindex(columns=list(table.columns)).rename_axis(index="method")
            logger.log_table(f"test/{group}", dataframe=rows.reset_index())
        if figure is not None:
            logger.log_image("test/curves", [figure])
