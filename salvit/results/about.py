"""What a score needs to be comparable, as fields; titles are made of them, and nothing is read from a title."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.base import SaliencyDataModule, Split

UNITS = {
    "KLD": "nats",
    "NSS": "standard deviations",
    "EMD": "pixels of maps 32 times smaller",
    "IG": "bits over the train split's center prior",
}


def facts(data: "SaliencyDataModule", split: "Split", counted: Iterable[bool]) -> dict[str, Any]:
    """The fields of what was scored.

    Args:
        data: whose images.
        split: which of them; of many datasets test is all that is labelled, val.
        counted: of every image that was scored, whether it has fixations and a density.

    Returns:
        `dataset`, `release` (or None), `split`, `images`, and `left_out`, how many of them no column counts.
    """
    counted = list(counted)
    return {
        "dataset": type(data).__name__.removesuffix("DataModule"),
        "release": getattr(data, "release", None),
        "split": data.split_name(split),
        "images": len(counted),
        "left_out": counted.count(False),
    }


def describe(about: dict[str, Any]) -> str:
    """The fields in words.

    Example:
        >>> about = {"dataset": "Salicon", "release": "2017", "split": "val", "images": 500, "left_out": 2}
        >>> describe(about)
        'Salicon layout 2017, val split, 2 of 500 images without fixations left out'
        >>> describe({"dataset": "OSIE", "split": "test", "images": 200})
        'OSIE, test split, 200 images'
    """
    release = f" layout {about['release']}" if about.get("release") else ""
    images = f"{about['images']} images"
    if left_out := about.get("left_out"):
        images = f"{left_out} of {images} without fixations left out"
    return f"{about['dataset']}{release}, {about['split']} split, {images}"


def title(about: dict[str, Any], profile: str, columns: Iterable[str]) -> str:
    """The title of a table of models: the fields, the profile, and the units of the columns.

    Example:
        >>> title({"dataset": "OSIE", "split": "test", "images": 200}, "exact", ["CC", "KLD"])
        'OSIE, test split, 200 images, profile exact (KLD in nats)'
    """
    columns = set(columns)
    units = ", ".join(f"{name} in {unit}" for name, unit in UNITS.items() if name in columns)
    return f"{describe(about)}, profile {profile} ({units})"
