"""Published scores that a table shows beside ours."""

from collections.abc import Mapping
from typing import NamedTuple

Scores = Mapping[str, float]


class Published(NamedTuple):
    """Rows of a paper.

    Attributes:
        source: paper and table.
        model: what they explain.
        rows: scores by method.
    """

    source: str
    model: str
    rows: Mapping[str, Scores]


_BOXES = ("pixel_accuracy", "iou", "dice", "precision", "recall")
_CURVES = ("LeRF", "MoRF", "ABPC")


def _rows(columns: tuple[str, ...], **rows: tuple[float, ...]) -> dict[str, Scores]:
    return {method: dict(zip(columns, values, strict=True)) for method, values in rows.items()}


PUBLISHED: Mapping[str, list[Published]] = {
    "ImageNetValDataModule": [
        Published(
            "Leem and Seo, AAAI 2024, Table 1",
            "ViT-B/16",
            _rows(
                _BOXES,
                rollout=(0.6209, 0.3597, 0.4893, 0.7326, 0.4657),
                relevance_lrp=(0.5863, 0.2029, 0.3055, 0.9110, 0.2176),
                agcam=(0.7341, 0.5212, 0.6515, 0.8299, 0.6276),
            ),
        ),
        Published(
            "Leem and Seo, AAAI 2024, Table 4",
            "ViT-B/16",
            _rows(
                _CURVES,
                rollout=(0.4739, 0.2053, 0.2685),
                relevance_lrp=(0.5140, 0.1736, 0.3404),
                agcam=(0.5298, 0.1607, 0.3691),
            ),
        ),
    ],
    "VOC2012DataModule": [
        Published(
            "Leem and Seo, AAAI 2024, Table 2",
            "ViT-B/16 with a head for VOC",
            _rows(
                _BOXES,
                rollout=(0.5592, 0.1645, 0.2431, 0.5802, 0.2115),
                relevance_lrp=(0.5750, 0.1574, 0.2348, 0.7651, 0.1716),
                agcam=(0.7521, 0.5335, 0.6646, 0.8167, 0.6647),
            ),
        )
    ],
    "CUB200DataModule": [
        Published(
            "Leem and Seo, AAAI 2024, Table 3",
            "ViT-B/16 with a head for CUB-200",
            _rows(
                _BOXES,
                rollout=(0.7273, 0.3097, 0.4339, 0.8357, 0.3420),
                relevance_lrp=(0.7039, 0.1997, 0.3106, 0.9669, 0.1992),
                agcam=(0.8351, 0.5836, 0.7220, 0.8987, 0.6438),
            ),
        )
    ],
}
"""By class of the datamodule; methods by their names in `salvit.extractors.METHODS`."""


def published_rows(dataset: str, columns: Mapping[str, str]) -> dict[str, Scores]:
    """Published rows that have any of a table's columns, named by method and paper.

    Args:
        dataset: class name of the datamodule.
        columns: of the table.

    Example:
        >>> rows = published_rows("CUB200DataModule", {"iou": "↑"})
        >>> rows["agcam, published"]["iou"]
        0.5836
    """
    return {
        f"{method}, published": scores
        for published in PUBLISHED.get(dataset, [])
        for method, scores in published.rows.items()
        if scores.keys() & columns.keys()
    }


def sources(dataset: str) -> list[str]:
    """Where a dataset's published rows come from.

    Args:
        dataset: class name of the datamodule.
    """
    return [f"{published.source} ({published.model})" for published in PUBLISHED.get(dataset, [])]
