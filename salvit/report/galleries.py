"""The maps that runs kept, put together: the images of one dataset, each with the maps of all models or methods."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from salvit.report.runs import Run
from salvit.resize import resize_antialiased
from salvit.results import describe, read_csv
from salvit.results.files import file_hash
from salvit.results.kept import MAPS, PEOPLE, from_text, small_photo

Map = NDArray[np.float32]
_EXPLAINED, _SIDE = 40, 24
"""Most images of `salvit explain` in a gallery, and cells along the longest side of their maps."""


@dataclass(frozen=True)
class Picture:
    """An image of a gallery.

    Attributes:
        name: name of the image.
        photo: JPEG in base64; empty where it is no longer there.
        maps: float32 [rows, columns], by model or method.
        scores: by model or method, by name of the score; NaN where the image could not be scored.
    """

    name: str
    photo: str
    maps: dict[str, Map] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gallery:
    """Images whose maps can be compared.

    Attributes:
        title: what the images are.
        of: number of images that were scored; the gallery may have fewer.
        columns: the scores, and which direction is better.
        pictures: the images.
    """

    title: str
    of: int
    columns: dict[str, str]
    pictures: list[Picture]

    @property
    def methods(self) -> list[str]:
        """Models or methods in the order in which they came, people last."""
        names = dict.fromkeys(name for one in self.pictures for name in one.maps)
        return sorted(names, key=lambda name: name == PEOPLE)


def read_galleries(runs: Iterable[Run]) -> list[Gallery]:
    """Put the maps of test runs together; runs that kept none are left out.

    Runs of models on the same images share a gallery. Each explanation run has its own.
    """
    together: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        path = run.folder / MAPS
        if run.stage != "test" or not path.is_file() or not run.about:
            continue
        kept = json.loads(path.read_text(encoding="utf-8"))
        names = [one["name"] for one in kept["images"]]
        key = json.dumps([describe(run.about), names, str(run.folder) if run.explains else ""])
        together.setdefault(key, []).append((run, kept))
    return [_gallery(members) for members in together.values()]


def _gallery(members: Sequence[tuple[Run, dict[str, Any]]]) -> Gallery:
    first, kept = members[0]
    own = first.explains
    pictures = {one["name"]: Picture(one["name"], one["photo"]) for one in kept["images"]}
    columns: dict[str, str] = {}
    for run, stored in members:
        table = run.about["tables"][0]
        path, kind = run.folder / table.get("per_image", "per_image.csv"), "method" if own else "model"
        scores = read_csv(path, dtype={"image": str, kind: str})
        for found in run.about["tables"]:
            columns |= {name: arrow for name, arrow in found["columns"].items() if name in scores}
        for one in stored["images"]:
            picture = pictures[one["name"]]
            for method, text in one["maps"].items():
                name = method if own or method == PEOPLE else run.label
                picture.maps[name] = from_text(text, tuple(stored["grid"]))
        if not own:
            scores = scores[scores[kind] == scores[kind].iloc[0]].assign(**{kind: run.label})
        shown = scores[scores["image"].isin(list(pictures))]
        for row in shown.to_dict("records"):
            pictures[row["image"]].scores[row[kind]] = {name: row[name] for name in columns if name in row}
    label = f"{first.label}: " if own else ""
    return Gallery(f"{label}{describe(first.about)}", first.about["images"], columns, list(pictures.values()))


def read_explained(folder: Path) -> Gallery:
    """The maps that `salvit explain` wrote into a folder, shrunk to at most 24 cells a side."""
    table = read_csv(folder / "explain.csv", dtype=str, keep_default_na=False)
    pictures: dict[str, Picture] = {}
    for row in table.to_dict("records"):
        if row["name"] not in pictures:
            if len(pictures) == _EXPLAINED:
                continue
            pictures[row["name"]] = Picture(row["name"], _photo(row))
        several = table.loc[
            (table["name"] == row["name"]) & (table["method"] == row["method"]), "target"
        ].nunique()
        target = f", {row['target_name'] or row['target']}" if several > 1 else ""
        pictures[row["name"]].maps[f"{row['method']}{target}"] = _shrunk(np.load(folder / row["map"]))
    return Gallery(f"salvit explain: {folder.name}", table["name"].nunique(), {}, list(pictures.values()))


def _photo(row: dict[str, Any]) -> str:
    """The photograph, where it is still at its place."""
    path = Path(row["image"])
    if not path.is_file() or file_hash(path) != row["image_sha256"]:
        return ""
    with Image.open(path) as picture:
        return small_photo(picture, 160)


def _shrunk(saliency: NDArray[Any]) -> Map:
    scale = _SIDE / max(saliency.shape)
    size = [max(1, round(side * scale)) for side in saliency.shape]
    small = resize_antialiased(torch.from_numpy(saliency.astype(np.float32))[None, None], size)[0, 0]
    return small.numpy()
