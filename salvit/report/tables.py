"""Tables of the scores of test runs; only comparable runs share a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from salvit import results
from salvit.report.published import method_sources, model_sources, published_methods, published_models
from salvit.report.runs import Run
from salvit.results import Table, describe, read_csv, title
from salvit.results.observers import UPPER_BOUND

PUBLISHED = ", published"
"""End of the name of a row that comes from a paper."""


@dataclass(frozen=True)
class Comparison:
    """A table with what a reader needs to judge it.

    Attributes:
        table: means; the spread is half the 95 % bootstrap interval.
        groups: columns in order of each group of scores, such as "faithfulness".
        low: lower ends of the intervals, in the shape of the means.
        high: upper ends.
        images: number of images of each mean; 0 for a published row, or for a value of all images together.
        differences: `score`, `row`, `other`, `difference`, `low`, `high` and `images`, every two rows once.
        sources: where published rows come from.
        runs: the run of each row of a model.
        pairs: our row for each published row.
    """

    table: Table
    groups: dict[str, list[str]]
    low: pd.DataFrame
    high: pd.DataFrame
    images: pd.DataFrame
    differences: pd.DataFrame
    sources: list[str]
    runs: dict[str, Run]
    pairs: dict[str, str]

    def beyond_published(self, row: str, column: str) -> float | None:
        """Our score minus the published one, for a published row; None where there is no pair."""
        means = self.table.means
        if (ours := self.pairs.get(row)) is None or column not in means:
            return None
        difference = means.at[ours, column] - means.at[row, column]
        return None if pd.isna(difference) else float(difference)


class _Scored(NamedTuple):
    """The scores of a run for one profile: a row per image, a column per score."""

    run: Run
    title: str
    columns: dict[str, str]
    profile: str
    model: pd.DataFrame
    baselines: pd.DataFrame


def read_tables(runs: Iterable[Run]) -> list[Comparison]:
    """Put the scores of test runs together; runs that scored nothing are left out.

    Runs of models share a table if dataset, split, profile and the scores of the baselines are the same; baselines
    appear once, below the models. Each explanation run has a table of its methods. Published rows of the dataset come
    last. Tables of models come first, in order of appearance.
    """
    comparable: dict[str, list[_Scored]] = {}
    methods = []
    for run in runs:
        tables = run.about.get("tables", [])
        for scored in (_scored(run, table) for table in tables if "profile" in table):
            baselines = scored.baselines.groupby("model").mean(numeric_only=True).round(3)
            comparable.setdefault(f"{scored.title} {baselines.to_dict()}", []).append(scored)
        if run.explains:
            methods.append(_of_methods(run, tables))
    return [*map(_of_models, comparable.values()), *methods]


def _scored(run: Run, table: dict[str, Any]) -> _Scored:
    scores = read_csv(run.folder / table["per_image"])
    ours = scores["model"] == scores["model"].iloc[0]  # the model comes first
    name = title(run.about, table["profile"], table["columns"])
    model = scores[ours].assign(model=run.label)
    return _Scored(run, name, table["columns"], table["profile"], model, scores[~ours])


def _of_models(runs: Sequence[_Scored]) -> Comparison:
    first = runs[0]
    wide = pd.concat([*(run.model for run in runs), first.baselines])
    rows = wide.melt(["model", "image"], list(first.columns), "score", "value").assign(profile=first.profile)
    # Rows and scores keep their order.
    for name in ("model", "score", "image"):
        rows[name] = pd.Categorical(rows[name], rows[name].unique())
    scores, differences = results.summary(rows), results.differences(rows)
    return _comparison(
        first.title,
        {first.profile: list(first.columns)},
        first.columns,
        scores,
        differences,
        first.run.about["dataset"],
        "model",
        {run.run.label: run.run for run in runs},
    )


def _of_methods(run: Run, tables: Sequence[dict[str, Any]]) -> Comparison:
    scores = read_csv(run.folder / "scores.csv").rename(columns={"method": "model"})
    columns = {name: arrow for table in tables for name, arrow in table["columns"].items()}
    file = run.folder / "differences.csv"
    empty = pd.DataFrame(columns=["score", "model", "other", "difference", "low", "high", "images"])
    differences = read_csv(file).rename(columns={"method": "model"}) if file.is_file() else empty
    text = "; ".join([f"{run.label}: {describe(run.about)}", *run.about["settings"]])
    groups = {table["group"]: list(table["columns"]) for table in tables}
    return _comparison(text, groups, columns, scores, differences, run.about["dataset"], "method", {})


def _comparison(
    text: str,
    groups: dict[str, list[str]],
    columns: dict[str, str],
    scores: pd.DataFrame,
    differences: pd.DataFrame,
    dataset: str,
    kind: str,
    runs: dict[str, Run],
) -> Comparison:
    order = list(dict.fromkeys(scores["model"].astype(str)))
    wide = scores.astype({"model": str, "score": str}).pivot(index="model", columns="score").loc[order]
    if kind == "method":
        published, papers = published_methods(dataset, columns), method_sources(dataset)
        pairs = {row: ours for row in published.index if (ours := row.removesuffix(PUBLISHED)) in order}
    else:
        published, papers = published_models(dataset, columns), model_sources(dataset)
        published = published.set_axis([f"{row}{PUBLISHED}" for row in published.index])
        pairs = {row: ours for row in published.index if (ours := _run_of(row, runs))}
    means = pd.concat([wide["mean"], published])
    low, high = (wide[end].reindex(means.index) for end in ("low", "high"))
    apart = [UPPER_BOUND, *published.index]
    table = Table(text, columns, means, (high - low) / 2, kind, apart)
    images = wide["images"].reindex(means.index).fillna(0).astype(int)
    twice = differences.astype({"model": str, "other": str}).rename(columns={"model": "row"})
    once = set(combinations(order, 2))
    compared = twice[[pair in once for pair in zip(twice["row"], twice["other"], strict=True)]]
    return Comparison(
        table, groups, low, high, images, compared, papers if len(published) else [], runs, pairs
    )


def _run_of(row: str, runs: dict[str, Run]) -> str | None:
    """The label of the one run that is named after a published row, as in salicon/dino/rollout/seed0."""
    named = row.removesuffix(PUBLISHED)
    found = [label for label, run in runs.items() if f"/{named}/" in f"/{run.record.get('name')}/"]
    return found[0] if len(found) == 1 else None
