"""The folder of results. Each overlay holds in its file how its map was made, so that a later command can go on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image, PngImagePlugin
from rich import progress as parts
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from datamodules.base import printable
from salvit.errors import CannotWriteError
from salvit.explain.data import GRIDS, MAPS, Photo, Step
from salvit.report.grid import PER_ROW, Cell, grid, reflow, thumbnail
from salvit.report.pictures import overlay, photo, robust
from salvit.resize import resize_antialiased
from salvit.results.atomic import atomic_write
from salvit.results.files import write
from salvit.vit.classes import Classes

TABLE = "explain.csv"
COLUMNS = (
    *("image", "name", "height", "width", "predicted", "predicted_name", "probability"),
    *("method", "target", "target_name", "target_probability", "shown_from", "shown_to"),
    *("map", "overlay", "grid", "image_sha256"),
)
"""Of the table; those about classes are empty where there is none, files are relative to the folder."""

Row = dict[str, str]
"""Of a map: the `COLUMNS` but `grid`, with `model` and `settings`, the same for all, and `code`, of the method."""
_ABOUT = "salvit"
"""Key of the text in a picture's file that says what the picture shows."""


def make_folder(folder: Path) -> None:
    """Make the folder of results; OSError if that is not possible."""
    try:
        for one in (folder, folder / GRIDS, folder / MAPS):
            one.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        within = "" if one == folder else f"{one} in "
        raise CannotWriteError(f"cannot make the folder {within}--out {folder}: {error.strerror}") from error


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of all maps in a folder of results, by file name without suffix."""
    rows: dict[str, Row] = {}
    for path in sorted((folder / MAPS).glob("*/*.png")):
        row = _read_about(path)
        if isinstance(row, dict) and path.with_suffix(".npy").is_file():
            rows[row["map"].removesuffix(".npy")] = row
    return rows


def write_table(folder: Path) -> None:
    """Write `explain.csv`, a row for each map in a folder of results."""
    table = pd.DataFrame([row for _, row in sorted(read_rows(folder).items())], columns=COLUMNS)
    grids = [f"{GRIDS}/{name}.png" for name in table["name"]]
    write(folder, {TABLE: table.assign(grid=[grid if (folder / grid).is_file() else "" for grid in grids])})


class ExplanationWriter(Callback):
    """Writes each map and its overlay when its batch is done, and a grid when an image has all its maps.

    Args:
        folder: of the results.
        steps: the maps that every image gets, in the order of the grid.
        settings: columns that all rows have in common.
        classes: of the model.
    """

    def __init__(self, folder: Path, steps: Sequence[Step], settings: Row, classes: Classes) -> None:
        self.folder = folder
        self.steps = list(steps)
        self.settings = settings
        self.classes = classes
        self.known = read_rows(folder)
        self._progress = Progress(disable=True)

    def bar(self, console: Console, total: int) -> Progress:
        """A progress bar, to be entered: how many maps are done, and which is being made."""
        # A method may have brackets in its options, which rich would take for markup.
        text = parts.TextColumn("{task.description}", markup=False)
        counts = (parts.BarColumn(), parts.MofNCompleteColumn(), parts.TimeElapsedColumn())
        self._progress = Progress(parts.SpinnerColumn(), text, *counts, console=console)
        self._progress.add_task("reading images", total=total)
        return self._progress

    def rows(self, name: str) -> list[Row]:
        """The rows of the maps that this command asks for and that an image has."""
        return [row for step in self.steps if (row := self.known.get(step.stem(name)))]

    def missing(self, name: str) -> list[Step]:
        """The maps that an image does not have yet."""
        return [step for step in self.steps if step.stem(name) not in self.known]

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any, **_: Any
    ) -> None:
        """Show which map is being made: one may take minutes."""
        method, target, passes, _ = batch["step"]
        text = method if target is None else f"{method} of {self.classes.describe(target)}"
        text += f" ({passes} forward passes)" if passes > 1 else ""
        self._progress.update(self._progress.task_ids[0], description=text, refresh=True)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any, **_: Any
    ) -> None:
        """Write the maps of a batch."""
        maps, targets, probabilities = outputs
        for index, image in enumerate(batch["photos"]):
            known = probabilities[index]
            predicted = int(known.argmax()) if len(known) else None
            target = None if targets is None else int(targets[index])
            about = self._class("predicted", "probability", predicted, known)
            about |= self._class("target", "target_probability", target, known)
            self._write_map(image, maps[index], batch["step"], about)
            if not self.missing(image.name):
                self.write_grid(image)
        self._progress.advance(self._progress.task_ids[0], len(maps))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show that all is done, also where images could not be read."""
        self._progress.update(self._progress.task_ids[0], completed=self._progress.tasks[0].total)

    def has_grid(self, name: str) -> bool:
        """Whether an image's grid shows what this command asks for."""
        return bool(_read_about(self._grid(name)) == self.rows(name))

    def write_grid(self, image: Photo) -> None:
        """Write the grid of an image from its overlays.

        Raises:
            OSError: if one is damaged.
        """
        rows = self.rows(image.name)
        overlays = [read_picture(self.folder / row["overlay"]) for row in rows]
        picture = grid(layout(image.name, photo(image.shown), rows, overlays))
        _write_picture(self._grid(image.name), picture, rows)

    def _grid(self, name: str) -> Path:
        return self.folder / GRIDS / f"{name}.png"

    def _class(self, key: str, probability: str, index: int | None, known: Tensor) -> Row:
        """The columns about a class; empty where there is none."""
        values = ("", "", "")
        if index is not None:
            values = (str(index), self.classes.name(index), str(round(float(known[index]), 6)))
        return dict(zip((key, f"{key}_name", probability), values, strict=True))

    def _write_map(self, image: Photo, saliency: Tensor, step: Step, about: Row) -> None:
        stem = step.stem(image.name)
        # Only the positive part of a signed map speaks for the class.
        colours = _resized(robust(saliency.clamp(min=0)), image.shown.shape[1:])
        row = {
            **self.settings,
            **about,
            "code": step.code,
            "image": printable(image.path),
            "image_sha256": image.sha256,
            "name": image.name,
            "height": str(image.size[0]),
            "width": str(image.size[1]),
            "method": step.method,
            "shown_from": f"{float(colours.min()):.6g}",
            "shown_to": f"{float(colours.max()):.6g}",
            "map": f"{stem}.npy",
            "overlay": f"{stem}.png",
        }
        with atomic_write(self.folder / row["map"]) as file:
            np.save(file, _resized(saliency, image.size).numpy())
        _write_picture(self.folder / row["overlay"], overlay(image.shown, colours), row)
        self.known[stem] = row


def layout(
    name: str, image: Image.Image, rows: Sequence[Mapping[str, str]], overlays: Sequence[Image.Image]
) -> list[list[Cell]]:
    """A row of cells for each class, with the image and its maps; maps that explain no class are shown once.

    The rows of the table and the overlays are those of the same maps.
    """
    predicted = shown_class(rows[0], "predicted", "probability")
    first = Cell(thumbnail(image), name, f"predicted: {predicted}" if predicted else "")
    cells: list[Cell] = []
    of_class: dict[str, list[Cell]] = {}
    for row, picture in zip(rows, overlays, strict=True):
        note = shown_class(row, "target", "target_probability") or "not class-specific"
        cells.append(Cell(thumbnail(picture), row["method"], note))
        of_class.setdefault(row["target"], []).append(cells[-1])
    common = of_class.pop("", [])
    if len(of_class) <= 1:
        return reflow([first, *cells])
    lines = [line for those in of_class.values() for line in reflow([first, *those])]
    if len(lines) == len(of_class) and len(lines[0]) + len(common) <= PER_ROW:
        return [lines[0] + common, *lines[1:]]
    return lines + reflow(common)


def shown_class(row: Mapping[str, str], index: str, probability: str) -> str:
    """A class of a row as shown: name, index and probability, by their columns; "" if there is none.

    Example:
        >>> row = {"target": "3", "target_name": "heart", "p": "0.00004"}
        >>> shown_class(row, "target", "p")
        'heart (3), p < 0.001'
    """
    if not row[index]:
        return ""
    name = f"{row[f'{index}_name']} ({row[index]})" if row[f"{index}_name"] else f"class {row[index]}"
    value = float(row[probability])
    return f"{name}, p = {value:.3f}" if value >= 0.0005 else f"{name}, p < 0.001"


def _resized(saliency: Tensor, size: Sequence[int]) -> Tensor:
    """A map at a size, bilinear, antialiased where it shrinks."""
    if saliency.min() == saliency.max():
        # The weights of a resize sum to 1 up to rounding, which an overlay would show as a full range of colours.
        return saliency[:1, :1].expand(*size).clone()
    return resize_antialiased(saliency[None, None], size)[0, 0]


def _write_picture(path: Path, picture: Image.Image, about: Any) -> None:
    """Write a PNG file that holds what it shows, in plain values."""
    text = PngImagePlugin.PngInfo()
    text.add_text(_ABOUT, json.dumps(about))
    with atomic_write(path) as file:
        # Level 1 is 4 times as fast as Pillow's default, for files 1 to 8 % larger.
        picture.save(file, format="PNG", compress_level=1, pnginfo=text)


def _read_about(path: Path) -> Any:
    """What a picture shows, by its file; None if the file is missing, says nothing or is no picture."""
    try:
        with Image.open(path) as picture:
            return json.loads(picture.info[_ABOUT])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return None


def read_picture(path: Path) -> Image.Image:
    """Read a picture that salvit has written; OSError if it is damaged."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # whichever Pillow raises for a damaged PNG
        raise CannotWriteError(f"{path} is damaged: delete it, and it is made anew ({error})") from error
