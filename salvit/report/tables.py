"""The scores of test runs as tables, in which only comparable runs are beside each other."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from salvit.report.runs import Run
from salvit.results import Table, describe, title
from salvit.results.observers import UPPER_BOUND


class _Scored(NamedTuple):
    """What a run says of one profile: a row per image, a column per score."""

    title: str
    columns: dict[str, str]
    model: pd.DataFrame
    baselines: pd.DataFrame


def read_tables(runs: Iterable[Run]) -> list[Table]:
    """Put the scores of test runs together; runs that scored nothing are left out.

    Runs of models share a table if dataset, split, profile and the scores of the baselines are the same. The spread is
    the standard error of the mean; baselines appear once, below the models. Each explanation run has a table of its
    methods; the spread is half the 95 % interval. Tables of models come first, in order of appearance.
    """
    comparable: dict[str, list[_Scored]] = {}
    methods = []
    for run in runs:
        tables = run.about.get("tables", [])
        for scored in (_scored(run, table) for table in tables if "profile" in table):
            baselines = scored.baselines.groupby("model").mean().round(3)
            comparable.setdefault(f"{scored.title} {baselines.to_dict()}", []).append(scored)
        if tables and "group" in tables[0]:
            methods.append(_of_methods(run, tables[0]))
    return [*map(_of_models, comparable.values()), *methods]


def _scored(run: Run, table: dict[str, Any]) -> _Scored:
    scores = pd.read_csv(run.folder / table["per_image"]).drop(columns="image")
    ours = scores["model"] == scores["model"].iloc[0]  # the model comes first
    name = title(run.about, table["profile"], table["columns"])
    return _Scored(name, table["columns"], scores[ours].assign(model=run.label), scores[~ours])


def _of_models(runs: Sequence[_Scored]) -> Table:
    rows = pd.concat([*(run.model for run in runs), runs[0].baselines]).groupby("model", sort=False)
    # Of a single image the error is not known, and shown as 0.
    errors = rows.sem().fillna(0).where(rows.mean().notna())
    return Table(runs[0].title, runs[0].columns, rows.mean(), errors, apart=[UPPER_BOUND])


def _of_methods(run: Run, table: dict[str, Any]) -> Table:
    scores = pd.read_csv(run.folder / "scores.csv")
    wide = scores.pivot(index="method", columns="score").reindex(scores["method"].unique())
    text = "; ".join([f"{run.label}: {describe(run.about)}", *run.about["settings"]])
    return Table(text, table["columns"], wide["mean"], (wide["high"] - wide["low"]) / 2, rows="method")
