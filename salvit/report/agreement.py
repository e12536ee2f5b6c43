"""How much the maps of two methods agree: their rank correlation, image by image."""

from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from salvit.report.galleries import Gallery, Map
from salvit.resize import resize_antialiased


def rank_correlations(gallery: Gallery) -> pd.DataFrame:
    """Spearman's rank correlation between the maps of every two methods on every image of a gallery.

    Maps are compared at the size of the patch grid; where models have different grids, at the coarsest one.

    Returns:
        A row per image and pair: `image`, `row`, `other`, `correlation` in −1 … 1; NaN where a map is constant.
    """
    grids = {one.shape for picture in gallery.pictures for one in picture.maps.values()}
    coarsest = min(grids, key=lambda grid: grid[0] * grid[1], default=(1, 1))
    methods = gallery.methods
    lines = []
    for picture in gallery.pictures:
        there = [method for method in methods if method in picture.maps]
        if len(there) < 2:
            continue
        with np.errstate(invalid="ignore"):  # of a constant map the correlation is not defined
            found = np.atleast_2d(np.corrcoef([_ranks(picture.maps[method], coarsest) for method in there]))
        for (i, method), (j, other) in combinations(enumerate(there), 2):
            lines.append((picture.name, method, other, float(found[i, j])))
    return pd.DataFrame(lines, columns=["image", "row", "other", "correlation"])


def mean_agreement(correlations: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """The mean over images, symmetric, a row and a column per method; 1 on the diagonal, NaN where none is known."""
    mean = correlations.groupby(["row", "other"])["correlation"].mean()
    matrix = pd.DataFrame(np.eye(len(methods)), index=methods, columns=methods).replace(0.0, np.nan)
    for (row, other), value in mean.items():
        matrix.loc[row, other] = matrix.loc[other, row] = value
    return matrix


def _ranks(saliency: Map, grid: tuple[int, ...]) -> NDArray[np.float64]:
    if saliency.shape != grid:
        saliency = resize_antialiased(torch.from_numpy(saliency.copy())[None, None], grid)[0, 0].numpy()
    return np.asarray(rankdata(saliency.ravel()), dtype=np.float64)
