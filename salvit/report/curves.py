"""Training curves, from the CSV files that the runs logged."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from salvit.report.table import COLUMNS

Points = tuple[list[float], list[float]]
History = dict[str, Points]

_PER_ROW = 4


def read_history(path: Path) -> History:
    """Read what a run logged while it was fitted.

    Args:
        path: of the `metrics.csv` of Lightning's CSVLogger.

    Returns:
        For each name under `train/` or `val/`, in the order of a report, the optimiser steps and the values.
    """
    history: History = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name in filter(_is_curve, row):
                if row[name]:
                    steps, values = history.setdefault(name, ([], []))
                    steps.append(float(row["step"]))
                    values.append(float(row[name]))
    return {name: history[name] for name in sorted(history, key=_order)}


def draw_curves(histories: Mapping[str, History]) -> Figure:
    """Draw a panel for each logged name with a line for each run.

    Args:
        histories: by label, from `read_history`.

    Returns:
        The figure; steps of the optimiser along x.

    Raises:
        ValueError: if nothing was logged.
    """
    names = sorted({name for history in histories.values() for name in history}, key=_order)
    if not names:
        raise ValueError("there are no curves to draw: no run logged anything under train/ or val/")
    rows = math.ceil(len(names) / _PER_ROW)
    columns = min(len(names), _PER_ROW)
    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.06)
    figure = Figure(figsize=(3.1 * columns, 2.5 * rows + 0.4), layout=layout)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        _draw_panel(panel, name, histories)
    for panel in panels[len(names) :]:
        panel.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _draw_panel(panel: Axes, name: str, histories: Mapping[str, History]) -> None:
    for label, history in histories.items():
        # A run without this curve keeps its colour and its place in the legend.
        steps, values = history.get(name, ([], []))
        panel.plot(steps, values, marker="o" if len(steps) <= 30 else "", markersize=3, label=label)
    panel.set_title(
        f"{name} {COLUMNS.get(name.rpartition('/')[2], '↓' if 'loss' in name else '')}", fontsize=10
    )
    panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel("optimiser step", fontsize=8)


def _is_curve(name: str) -> bool:
    return name.startswith(("train/", "val/"))


def _order(name: str) -> tuple[bool, int, str]:
    """Training first, then the metrics of the table in its order, then all else."""
    metrics = list(COLUMNS)
    metric = name.rpartition("/")[2]
    return not name.startswith("train/"), metrics.index(metric) if metric in metrics else len(metrics), name
