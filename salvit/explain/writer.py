"""Writes maps, overlays and grids as they are made, and shows how far they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from torch import Tensor

from salvit.errors import CannotWriteError
from salvit.explain.data import Batch, Photo, Step
from salvit.explain.module import ExplainModule, Explanation
from salvit.explain.results import GRIDS, MAPS, Results, Row, read_about, write_picture
from salvit.report.grid import PER_ROW, Cell, grid, reflow, thumbnail
from salvit.report.pictures import overlay, photo, robust
from salvit.resize import resize_antialiased
from salvit.results.atomic import atomic_write


class ExplanationWriter(Callback):
    """Writes each map, its overlay and its row when its batch is done, and a grid when an image has all its maps.

    Args:
        results: the folder to write to.
        steps: the maps that every image gets, in the order of the grid.
        settings: columns that all rows have in common.
    """

    def __init__(self, results: Results, steps: Sequence[Step], settings: Row) -> None:
        self.results = results
        self.steps = list(steps)
        self.settings = settings
        self._progress = Progress(disable=True)

    def bar(self, console: Console, total: int) -> Progress:
        """A bar, to be entered, which shows how many maps are done and which is being made."""
        # Methods may have brackets, which are markup.
        text = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._progress.add_task("reading images", total=total)
        return self._progress

    def rows(self, name: str) -> list[Row]:
        """The rows of an image's maps that this command asks for and that are there."""
        return [row for step in self.steps if (row := self.results.rows.get(_stem(name, step)))]

    def missing(self, name: str) -> list[Step]:
        """The maps that an image does not have yet."""
        return [step for step in self.steps if _stem(name, step) not in self.results.rows]

    def on_predict_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say what is being made: one map may take minutes."""
        step = batch.step
        assert isinstance(pl_module, ExplainModule)
        of_class = "" if step.target is None else f" of {pl_module.classes.describe(step.target)}"
        passes = f" ({step.passes} forward passes)" if step.passes > 1 else ""
        self._progress.update(
            self._progress.task_ids[0], description=f"{step.method}{of_class}{passes}", refresh=True
        )

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Sequence[Explanation],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the maps of a batch."""
        for explanation in outputs:
            self._write_map(explanation, batch.step)
            if not self.missing(explanation.photo.name):
                self.write_grid(explanation.photo)
        self._progress.advance(self._progress.task_ids[0], batch.images)

    def has_grid(self, name: str) -> bool:
        """Whether an image's grid shows what this command asks for."""
        return bool(read_about(self._grid(name)) == self.rows(name))

    def write_grid(self, image: Photo) -> None:
        """Write the grid of an image from its overlays.

        Raises:
            OSError: if one is damaged.
        """
        rows = self.rows(image.name)
        overlays = [_read(self.results.folder / row["overlay"]) for row in rows]
        cells = layout(image.name, photo(image.shown), rows, overlays)
        write_picture(self._grid(image.name), grid(cells), rows)

    def _grid(self, name: str) -> Path:
        return self.results.folder / GRIDS / f"{name}.png"

    def _write_map(self, explanation: Explanation, step: Step) -> None:
        image, saliency, classes = explanation
        stem = _stem(image.name, step)
        # Of a signed map the positive part, what speaks for the class; zero would else be half-way bright everywhere.
        colours = _resized(robust(saliency.clamp(min=0)), image.shown.shape[1:])
        row = {
            **self.settings,
            **classes,
            "code": step.code,
            "image": str(image.path),
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
        with atomic_write(self.results.folder / row["map"]) as file:
            np.save(file, _resized(saliency, image.size).numpy())
        write_picture(self.results.folder / row["overlay"], overlay(image.shown, colours), row)
        self.results.rows[stem] = row


def layout(
    name: str, image: Image.Image, rows: Sequence[Mapping[str, str]], overlays: Sequence[Image.Image]
) -> list[list[Cell]]:
    """Rows of cells: for each class the image and the maps of it, below each other; what is the same for all, once.

    Args:
        name: of the image.
        image: the picture itself.
        rows: of the table, one per map.
        overlays: of the same maps.
    """
    predicted = shown_class(rows[0], "predicted", "probability")
    first = Cell(thumbnail(image), name, f"predicted: {predicted}" if predicted else "")
    cells = [
        Cell(
            thumbnail(picture),
            row["method"],
            shown_class(row, "target", "target_probability") or "not class-specific",
        )
        for row, picture in zip(rows, overlays, strict=True)
    ]
    of_class: dict[str, list[Cell]] = {}
    for row, cell in zip(rows, cells, strict=True):
        of_class.setdefault(row["target"], []).append(cell)
    common = of_class.pop("", [])
    if len(of_class) <= 1:
        return reflow([first, *cells])
    lines = [line for those in of_class.values() for line in reflow([first, *those])]
    if len(lines) == len(of_class) and len(lines[0]) + len(common) <= PER_ROW:
        return [lines[0] + common, *lines[1:]]
    return lines + reflow(common)


def shown_class(row: Mapping[str, str], index: str, probability: str) -> str:
    """A class of the table as shown: its name, index and probability; "" if there is none.

    Args:
        row: of the table.
        index: column of the class.
        probability: column of its probability.

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


def _stem(name: str, step: Step) -> str:
    return f"{MAPS}/{name}/{step.stem}"


def _resized(saliency: Tensor, size: Sequence[int]) -> Tensor:
    """A map at a size, bilinear, antialiased where it shrinks."""
    if saliency.min() == saliency.max():
        # Weights sum to 1 but for rounding, which the colours of an overlay would blow up to a full-range map.
        return saliency[:1, :1].expand(*size).clone()
    return resize_antialiased(saliency[None, None], size)[0, 0]


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # whichever Pillow raises for a damaged PNG
        raise CannotWriteError(f"{path} is damaged: delete it, and it is made anew ({error})") from error
