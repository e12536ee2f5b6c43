"""The attention that tests and `salvit explain` kept, for the explorer of a page."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from salvit.report.data import shaded
from salvit.report.galleries import Gallery, Map
from salvit.report.runs import Run
from salvit.results.kept import ATTENTION, MAPS, PEOPLE, from_text

ATTENTION_TEXT = 12_000_000
"""Most characters of attention in a page; further runs are left out, and the page names them."""


class Source(NamedTuple):
    """A folder with kept attention.

    Attributes:
        folder: folder of the run.
        label: label of the run.
        title: the model and its dataset.
        maps: of each image, by the image's name and the map's.
    """

    folder: Path
    label: str
    title: str
    maps: Mapping[str, Mapping[str, Map]]


def attention_sources(runs: Iterable[Run], explained: Mapping[Path, Gallery]) -> list[Source]:
    """The test runs and the folders of `salvit explain` that have attention."""
    found = [
        Source(
            run.folder, run.label, f"{_backbone(run)} on {run.about.get('dataset', 'images')}", _maps_of(run)
        )
        for run in runs
        if run.stage == "test" and (run.folder / ATTENTION).is_file()
    ]
    for folder, gallery in explained.items():
        if (folder / ATTENTION).is_file():
            maps = {picture.name: picture.maps for picture in gallery.pictures}
            found.append(Source(folder, folder.name, gallery.title, maps))
    return found


def explorers(several: Sequence[Source]) -> tuple[list[dict[str, Any]], str]:
    """The explorers of a page, one for each model and set of images, and the labels of runs that were too large."""
    found: dict[str, dict[str, Any]] = {}
    left_out = []
    room = ATTENTION_TEXT
    for source in several:
        kept = json.loads((source.folder / ATTENTION).read_text(encoding="utf-8"))
        digest = hashlib.sha256("".join(one["attention"] for one in kept["images"]).encode()).hexdigest()
        if digest not in found:
            size = sum(len(one["attention"]) for one in kept["images"])
            if size > room:
                left_out.append(source.label)
                continue
            room -= size
            found[digest] = _explorer(source.title, kept)
        for image, one in zip(found[digest]["images"], kept["images"], strict=True):
            grid = tuple(kept["grid"])
            maps = dict(source.maps.get(one["name"], {}))
            maps |= {name: from_text(text, grid) for name, text in one["maps"].items()}
            image["maps"] += [{"name": name, "of": source.label, **shaded(one)} for name, one in maps.items()]
    return list(found.values()), ", ".join(left_out)


def _explorer(title: str, kept: dict[str, Any]) -> dict[str, Any]:
    side = kept["side"]
    own = ("name", "photo", "attention", "largest")
    return {
        "title": title + (f", {side}×{side} patches together" if side > 1 else ""),
        "grid": [-(-size // side) for size in kept["grid"]],
        "prefix": kept["prefix"],
        "classToken": kept["class_token"],
        "blocks": kept["blocks"],
        "heads": kept["heads"],
        "images": [{**{key: one[key] for key in own}, "maps": []} for one in kept["images"]],
    }


def _backbone(run: Run) -> str:
    return str(run.record.get("model", run.label)).partition(" · ")[0]


def _maps_of(run: Run) -> dict[str, dict[str, Map]]:
    kept = json.loads((run.folder / MAPS).read_text(encoding="utf-8"))
    grid = tuple(kept["grid"])
    return {
        one["name"]: {
            name if run.explains or name == PEOPLE else "prediction": from_text(text, grid)
            for name, text in one["maps"].items()
        }
        for one in kept["images"]
    }
