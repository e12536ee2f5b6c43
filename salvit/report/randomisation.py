"""A picture of parameter randomisation: how maps change as a model loses its weights."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

_LINES = ("-", "--", ":")
_COLOURS = 10


def draw_randomisation(curves: pd.DataFrame) -> Figure:
    """Draw the mean rank correlation with the map of the trained model, a panel per score and a line per method.

    Args:
        curves: `method`, `score`, `part` and `correlation`, the parts in the order in which they were randomised.

    Returns:
        Panels side by side; the legend has the methods in the order of the first panel's ends, the highest on top.
    """
    scores = list(curves["score"].unique())
    figure = Figure(figsize=(4.6 * len(scores) + 3, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1))
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    ends = curves[curves["score"] == scores[0]].groupby("method")["correlation"].last()
    order = list(ends.sort_values(ascending=False, kind="stable").index)
    for panel, score in zip(panels, scores, strict=True):
        several = curves[curves["score"] == score]
        for place, method in enumerate(order):
            line = several[several["method"] == method]
            style = {"color": f"C{place % _COLOURS}", "linestyle": _LINES[place // _COLOURS % len(_LINES)]}
            values = [1.0, *line["correlation"]]
            panel.plot(range(len(values)), values, marker="o", markersize=3, label=method, **style)
        parts = several["part"].unique()
        panel.set_xticks(range(len(parts) + 1), ["none", *parts], rotation=60, ha="right")
        panel.set_title(f"{score} ↓", fontsize=10)
        panel.set_xlabel("weights randomised up to", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("rank correlation with the trained model's map", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)
    return figure
