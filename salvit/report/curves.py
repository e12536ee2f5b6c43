"""Curves: of training, read from the CSV files that runs logged, and of perturbation, drawn."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from salvit.metrics import saliency_metrics
from salvit.metrics.base import columns_of

_COLOURED = 7
_BASELINES = {"random": ":", "center_prior": "--"}
_TITLES = ("LeRF ↑: least relevant first", "MoRF ↓: most relevant first")
_COLUMNS = columns_of(saliency_metrics().values())  # type: ignore[arg-type]


def read_history(path: Path) -> dict[str, pd.Series]:
    """Read the `metrics.csv` of Lightning's CSVLogger, which is missing if nothing was logged.

    Returns:
        For each name under `train/` or `val/`, in the order of a report, the values by step of the optimiser.
    """
    if not path.is_file():
        return {}
    logged = pd.read_csv(path).set_index("step")
    names = [name for name in logged if name.startswith(("train/", "val/"))]
    return {name: logged[name].dropna() for name in sorted(names, key=_order) if logged[name].notna().any()}


def _decorate(panel: Axes, title: str, below: str) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(below, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _order(name: str) -> tuple[bool, int, str]:
    """Training first, then the metrics of the table in its order, then all else."""
    metrics = list(_COLUMNS)
    metric = name.rpartition("/")[2]
    return not name.startswith("train/"), metrics.index(metric) if metric in metrics else len(metrics), name


def draw_perturbation(curves: pd.DataFrame) -> Figure:
    """Draw what removing pixels does to the probability of the target, least and most relevant ones first.

    Args:
        curves: a row per method and curve, "LeRF" and "MoRF"; a column per share of pixels removed.

    Returns:
        LeRF and MoRF side by side, a line per method; the best by ABPC in colour, at the top of the legend.
    """
    lerf, morf = curves.xs("LeRF", level=1), curves.xs("MoRF", level=1)
    by_area = list((morf - lerf).mean(axis=1).sort_values(kind="stable").index)
    figure = Figure(figsize=(11, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1))
    panels = figure.subplots(1, 2, sharey=True)
    for place, method in reversed(list(enumerate(by_area))):  # the best on top
        style = _style(place, method)
        for panel, lines in zip(panels, (lerf, morf), strict=True):
            panel.plot(curves.columns, lines.loc[method], **style)
    for panel, title in zip(panels, _TITLES, strict=True):
        _decorate(panel, title, "share of pixels removed")
    panels[0].set_ylabel("probability of the target", fontsize=9)
    handles, labels = (part[::-1] for part in panels[0].get_legend_handles_labels())
    if len(by_area) > _COLOURED:
        handles.append(Line2D([], [], color="0.75", linewidth=0.9))
        labels.append("others")
    place = {"loc": "outside right center", "frameon": False, "fontsize": 8}
    figure.legend(handles, labels, **place, title="by ABPC", title_fontsize=8)
    return figure


def _style(place: int, method: str) -> dict[str, Any]:
    """Colours for the best methods only: nineteen could not be told apart."""
    if method in _BASELINES:
        return {"color": "black", "linestyle": _BASELINES[method], "linewidth": 1.2, "label": method}
    if place < _COLOURED:
        return {"color": f"C{place}", "marker": "o", "markersize": 3, "linewidth": 1.6, "label": method}
    return {"color": "0.75", "linewidth": 0.9, "label": None}
