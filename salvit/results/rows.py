"""All that is measured, as one long table: a row per image, model, profile and score.

Columns: `image`, `model` (or a method that explains one), `profile` (or the group of scores), `score` and `value`, NaN
where the image could not be scored; and what else is known of the images. A row without an image holds a value of all
images together. Models, profiles, scores and images keep the order in which they were measured.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import torch

from salvit.metrics.base import ImageMetric
from salvit.metrics.functional import bootstrap_differences, bootstrap_interval

Metrics = Mapping[str, Mapping[str, Sequence[ImageMetric]]]
"""By model, by profile."""


def gathered(items: list[Any]) -> list[Any]:
    """Items of all processes, by rank: the order in which metrics gather. Every process has to call it."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return items
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def collect(metrics: Metrics, images: list[dict[str, Any]]) -> pd.DataFrame:
    """The scores that metrics keep, of all processes. Every process has to call it.

    Args:
        metrics: after the last update; they scored the same images.
        images: fields of the images of this process, in the order of the updates: at least `index`, their place in the
            dataset, and `image`, their name.

    Example:
        >>> from salvit.metrics import CC
        >>> metric = CC()
        >>> metric.restore(torch.tensor([0.5, torch.nan]))
        >>> collect({"ours": {"exact": [metric]}}, [{"index": 1, "image": "b"}, {"index": 0, "image": "a"}])
          image model profile score  value
        0     a  ours   exact    CC    NaN
        1     b  ours   exact    CC    0.5
    """
    known = pd.DataFrame(gathered(images)).rename_axis("place").sort_values("index")
    order = known.index.to_numpy()
    known = _in_order(known.drop(columns="index"), ["image"])
    parts = []
    for model, profiles in metrics.items():
        for profile, several in profiles.items():
            for metric in several:
                names = {"model": model, "profile": profile}
                for score, values in metric.by_column().items():
                    of_images = known.assign(**names, score=score, value=values.cpu().double().numpy()[order])
                    parts.append(of_images)
                parts += [pd.DataFrame([{**names, **whole}]) for whole in _of_all_images(metric)]
    rows = pd.concat(parts, ignore_index=True).astype({"image": known["image"].dtype})
    first = ["image", "model", "profile", "score", "value"]
    return _in_order(rows, ["model", "profile", "score"])[[*first, *known.columns.drop("image")]]


def means(rows: pd.DataFrame, by: str = "model") -> pd.DataFrame:
    """Means over the images that could be scored: a row per model, a column per score."""
    return rows.groupby([by, "score"], observed=True)["value"].mean().unstack()


def per_image(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per model and image, a column per score: rows of one profile, or of several without a score in common."""
    wide = rows[rows["image"].notna()].pivot(index=["model", "image"], columns="score", values="value")
    return wide.rename_axis(columns=None)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """`model`, `score`, `mean`, `low` and `high`, the ends of the 95 % bootstrap interval, and `images` scored."""
    lines = []
    for (model, score), group in rows.groupby(["model", "score"], observed=True, sort=False):
        values = torch.tensor(group["value"].to_numpy())
        whole = group["image"].isna().all()  # a value of all images together
        low, high = (np.nan, np.nan) if whole else bootstrap_interval(values)
        count = None if whole else int(values.isfinite().sum())
        lines.append((model, score, group["value"].mean(), low, high, count))
    return pd.DataFrame(lines, columns=["model", "score", "mean", "low", "high", "images"]).astype(
        {"images": "Int64"}
    )


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Every two models: `score`, `model`, `other`, `difference` of means, ends `low` and `high` of its 95 % interval.

    All are compared on the same `images`: those that have a score of every model.
    """
    lines = []
    for score, group in rows[rows["image"].notna()].groupby("score", observed=True, sort=False):
        scores = group.pivot(index="model", columns="image", values="value")
        parts = [part.numpy() for part in bootstrap_differences(torch.tensor(scores.to_numpy()))]
        images = int(scores.notna().all().sum())
        for i, j in permutations(range(len(scores)), 2):
            lines.append((score, scores.index[i], scores.index[j], *(part[i, j] for part in parts), images))
    return pd.DataFrame(lines, columns=["score", "model", "other", "difference", "low", "high", "images"])


def _of_all_images(metric: ImageMetric) -> list[dict[str, Any]]:
    """What a metric computes beside means over images."""
    computed = metric.compute()
    values = computed.items() if isinstance(computed, dict) else ()
    return [{"score": name, "value": float(value)} for name, value in values if name not in metric.columns]


def _in_order(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of names, sorted from now on in the order in which they first appear."""
    return table.assign(
        **{name: pd.Categorical(table[name], categories=table[name].dropna().unique()) for name in columns}
    )
