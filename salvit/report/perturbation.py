"""Perturbation curves as a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from torch import Tensor

_COLOURED = 7
_BASELINES = {"random": ":", "center_prior": "--"}
_TITLES = ("LeRF ↑: least relevant first", "MoRF ↓: most relevant first")


def draw_perturbation(curves: Mapping[str, tuple[Tensor, Tensor]], fractions: Sequence[float]) -> Figure:
    """Draw what removing pixels does to the target's probability, least and most relevant ones first.

    Args:
        curves: LeRF and MoRF, both [F], by method.
        fractions: F shares of pixels removed.

    Returns:
        The figure: LeRF and MoRF side by side, a line per method; the best by ABPC in colour, at the top of the legend.
    """
    by_area = sorted(curves, key=lambda method: float((curves[method][1] - curves[method][0]).mean()))
    figure = Figure(figsize=(11, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1))
    panels = figure.subplots(1, 2, sharey=True)
    for method in reversed(by_area):  # the best on top
        style = _style(by_area.index(method), method)
        for panel, curve in zip(panels, curves[method], strict=True):
            panel.plot(fractions, curve.cpu().numpy(), **style)
    for panel, title in zip(panels, _TITLES, strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("share of pixels removed", fontsize=9)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    panels[0].set_ylabel("probability of the target", fontsize=9)
    _legend(figure, panels[0], others=len(by_area) - _COLOURED)
    return figure


def _style(place: int, method: str) -> dict[str, Any]:
    """Colours for the best methods only: nineteen could not be told apart."""
    if method in _BASELINES:
        return {"color": "black", "linestyle": _BASELINES[method], "linewidth": 1.2, "label": method}
    if place < _COLOURED:
        return {"color": f"C{place}", "marker": "o", "markersize": 3, "linewidth": 1.6, "label": method}
    return {"color": "0.75", "linewidth": 0.9, "label": None}


def _legend(figure: Figure, panel: Axes, others: int) -> None:
    handles, labels = panel.get_legend_handles_labels()
    handles, labels = handles[::-1], labels[::-1]
    if others > 0:
        handles.append(Line2D([], [], color="0.75", linewidth=0.9))
        labels.append("others")
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        frameon=False,
        fontsize=8,
        title="by ABPC",
        title_fontsize=8,
    )
