"""Published scores that a table shows beside ours: `published.csv`, a line per table, dataset, row and score.

Its `table` is `agcam`, `table1` to `table3` (of "Vision Transformers are Inherently Saliency Learners"), or `poster`.
"""

from collections.abc import Iterable
from importlib.resources import files

import pandas as pd


def published(table: str) -> pd.DataFrame:
    """The published scores of a table, in its order.

    Returns:
        `dataset`, `source`, `model`, `row`, `score` and `value`.

    Example:
        >>> scores = published("table3")
        >>> best = scores[(scores["dataset"] == "Salicon") & (scores["score"] == "CC")].nlargest(1, "value")
        >>> best[["row", "value"]].values.tolist()
        [['dino/salient_attention-32', 0.86]]
    """
    with files("salvit.report").joinpath("published.csv").open(encoding="utf-8") as file:
        every = pd.read_csv(file)
    return every[every["table"] == table].drop(columns="table").reset_index(drop=True)


def published_methods(dataset: str, columns: Iterable[str]) -> pd.DataFrame:
    """Published rows of explanations of a dataset that have any of a table's columns, named by method and paper.

    Example:
        >>> published_methods("CUB200", ["iou"])["iou"].to_dict()["agcam, published"]
        0.5836
    """
    known = _explanations(dataset)
    known = known[known["score"].isin(list(columns))]
    rows = known.assign(method=known["row"] + ", published").pivot(
        index="method", columns="score", values="value"
    )
    return rows.reindex([f"{method}, published" for method in known["row"].unique()])


def method_sources(dataset: str) -> list[str]:
    """Where a dataset's published rows of explanations come from."""
    papers = _explanations(dataset)[["source", "model"]].drop_duplicates()
    return [f"{source} ({model})" for source, model in papers.itertuples(index=False)]


def published_models(dataset: str, columns: Iterable[str]) -> pd.DataFrame:
    """Published rows of saliency models on a dataset: a row each, such as dino/rollout or EML-NET, a column per score.

    Where two tables have a score of a row, the first one counts.

    Example:
        >>> float(published_models("CAT2000", ["CC"]).loc["dino/salient_attention-32", "CC"])
        0.76
    """
    known = pd.concat([published(table) for table in ("table1", "table2", "table3")])
    known = known[(known["dataset"] == dataset) & known["score"].isin(list(columns))]
    rows = known.drop_duplicates(["row", "score"]).pivot(index="row", columns="score", values="value")
    return rows.reindex(known["row"].unique())


def model_sources(dataset: str) -> list[str]:
    """Where a dataset's published rows of saliency models come from."""
    known = pd.concat([published(table) for table in ("table1", "table2", "table3")])
    return list(known.loc[known["dataset"] == dataset, "source"].unique())


def _explanations(dataset: str) -> pd.DataFrame:
    every = published("agcam")
    return every[every["dataset"] == dataset]
