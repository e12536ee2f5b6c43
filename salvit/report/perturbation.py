"""Perturbation curves as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor


def draw_perturbation(curves: Mapping[str, tuple[Tensor, Tensor]], fractions: Sequence[float]) -> Figure:
    """Draw what removing pixels does to the target's probability, least and most relevant ones first.

    Args:
        curves: LeRF and MoRF, both [F], by method.
        fractions: F shares of pixels removed.

    Returns:
        The figure: LeRF and MoRF side by side, a line per method, the best of either at the top of the legend.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.1)
    figure = Figure(figsize=(11, 3.2 + 0.1 * len(curves)), layout=layout)
    panels = figure.subplots(1, 2, sharey=True)
    by_area = sorted(curves.items(), key=lambda item: float((item[1][1] - item[1][0]).mean()))
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(curves)))
    for (method, pair), colour in zip(by_area, colours, strict=True):
        for panel, curve in zip(panels, pair, strict=True):
            panel.plot(fractions, curve.cpu().numpy(), marker="o", markersize=2.5, color=colour, label=method)
    for panel, title in zip(
        panels, ("LeRF ↑: least relevant first", "MoRF ↓: most relevant first"), strict=True
    ):
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("share of pixels removed", fontsize=9)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    panels[0].set_ylabel("probability of the target", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        frameon=False,
        fontsize=8,
        title="by ABPC",
        title_fontsize=8,
    )
    return figure
