"""Curves of a report as numbers: of training, perturbation and random weights, and over what a sweep varies."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from salvit.report.curves import read_history
from salvit.report.runs import Run
from salvit.report.tables import Comparison

_NUMBER = re.compile(r"(\w+)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name, and the points in order of `x`; `low` and `high` are empty or an interval of `y`."""

    name: str
    x: list[float]
    y: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Chart:
    """Lines over one axis.

    Attributes:
        group: heading under which it stands.
        title: meaning of `y`, with the direction that is better.
        axis: meaning of `x`.
        lines: the lines that are drawn.
    """

    group: str
    title: str
    axis: str
    lines: list[Line]


def training_charts(runs: Iterable[Run], columns: dict[str, str]) -> list[Chart]:
    """A chart per name under `train/` or `val/` that fits logged, a line per fit, over the steps of the optimiser.

    Args:
        runs: the runs whose fits are shown.
        columns: scores, and which direction is better.
    """
    histories = {run.label: read_history(run.folder / "metrics.csv") for run in runs if run.stage == "fit"}
    charts = []
    for name in dict.fromkeys(name for history in histories.values() for name in history):
        lines = [
            Line(label, list(map(float, values.index)), values.tolist(), [], [])
            for label, history in histories.items()
            if (values := history.get(name)) is not None
        ]
        score = name.rpartition("/")[2]
        better = columns.get(score, "↓" if "loss" in score else "")
        charts.append(Chart("Training", f"{name} {better}".rstrip(), "step of the optimiser", lines))
    return charts


def perturbation_charts(runs: Iterable[Run]) -> list[Chart]:
    """Two charts per explanation run that removed pixels: the least and the most relevant ones first."""
    charts = []
    titles = {"LeRF": "LeRF ↑, least relevant first", "MoRF": "MoRF ↓, most relevant first"}
    for run in runs:
        if run.stage != "test" or not (path := run.folder / "curves.csv").is_file():
            continue
        curves = pd.read_csv(path).set_index(["curve", "method"])
        shares = [float(share) for share in curves.columns]
        for curve, title in titles.items():
            rows = curves.loc[curve]
            lines = [Line(str(method), shares, list(rows.loc[method]), [], []) for method in rows.index]
            charts.append(
                Chart(f"Perturbation, {run.label}", f"{title}: probability", "share of pixels removed", lines)
            )
    return charts


def randomisation_charts(runs: Iterable[Run]) -> list[Chart]:
    """A chart per score of parameter randomisation and run; 0 parts with random weights is the trained model."""
    charts = []
    for run in runs:
        if run.stage != "test" or not (path := run.folder / "sanity.csv").is_file():
            continue
        for score, curves in pd.read_csv(path).groupby("score", sort=False):
            correlations = curves.groupby("method", sort=False)["correlation"]
            lines = [
                Line(str(method), list(map(float, range(len(values) + 1))), [1.0, *values], [], [])
                for method, values in correlations
            ]
            title = f"{score} ↓: correlation with the trained map"
            axis = f"parts with random weights, {curves['part'].iloc[0]} first"
            charts.append(Chart(f"Random weights, {run.label}", title, axis, lines))
    return charts


def sweep_charts(tables: Iterable[Comparison]) -> list[Chart]:
    """A chart per score for every three or more rows whose names differ in one number only, such as k=8, k=16, k=32."""
    charts = []
    for one in tables:
        for name, rows in _sweeps(
            {row: _name(row, one.runs.get(row)) for row in one.table.means.index}
        ).items():
            for score, better in one.table.columns.items():
                parts = [
                    part.loc[list(rows.values()), score].tolist()
                    for part in (one.table.means, one.low, one.high)
                ]
                line = Line(name[0], list(rows), *parts)
                charts.append(Chart(f"Sweep over {name[1]}", f"{score} {better}", name[1], [line]))
    return charts


def _name(row: str, run: Run | None) -> str:
    """What the number of a row is read from: the name of its run, such as sweep-k/k=8, or else the row's own."""
    name = str((run.fit or run).record.get("name")) if run else ""
    return name if _NUMBER.search(name) else row


def _sweeps(names: Mapping[str, str]) -> dict[tuple[str, str], dict[float, str]]:
    """By the text that names share and the option that differs, the row of each value.

    Example:
        >>> _sweeps({row: row for row in ("a:k=16", "a:k=8", "b", "a:k=4")})
        {('a:k=…', 'k'): {4.0: 'a:k=4', 8.0: 'a:k=8', 16.0: 'a:k=16'}}
    """
    found: dict[tuple[str, str], dict[float, str]] = {}
    for row, name in names.items():
        for match in _NUMBER.finditer(name):
            shared = f"{name[: match.start(2)]}…{name[match.end(2) :]}"
            found.setdefault((shared, match[1]), {})[float(match[2])] = row
    return {name: dict(sorted(values.items())) for name, values in found.items() if len(values) > 2}
