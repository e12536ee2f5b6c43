"""Published scores that a table shows beside ours: `published.csv`, a row per dataset, method and score."""

from collections.abc import Iterable
from importlib.resources import files

import pandas as pd


def published_rows(dataset: str, columns: Iterable[str]) -> pd.DataFrame:
    """Published rows of a dataset that have any of a table's columns, named by method and paper.

    Example:
        >>> published_rows("CUB200", ["iou"])["iou"].to_dict()["agcam, published"]
        0.5836
    """
    known = _published(dataset)
    known = known[known["score"].isin(list(columns))]
    rows = known.assign(method=known["method"] + ", published").pivot(
        index="method", columns="score", values="value"
    )
    return rows.reindex([f"{method}, published" for method in known["method"].unique()])


def sources(dataset: str) -> list[str]:
    """Where a dataset's published rows come from."""
    papers = _published(dataset)[["source", "model"]].drop_duplicates()
    return [f"{source} ({model})" for source, model in papers.itertuples(index=False)]


def _published(dataset: str) -> pd.DataFrame:
    with files("salvit.report").joinpath("published.csv").open(encoding="utf-8") as file:
        every = pd.read_csv(file)
    return every[every["dataset"] == dataset]
