"""One batch of images: their maps, overlays and grids, computed and written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from salvit.explain.classes import Classes
from salvit.explain.grid import Cell, grid, reflow, thumbnail
from salvit.explain.images import Photo, resized_map
from salvit.explain.index import Row, shown_probability
from salvit.explain.maps import maps_of, probabilities
from salvit.explain.task import Task
from salvit.files import atomic_write
from salvit.report.pictures import overlay, photo
from salvit.vit import normalize


class Explained:
    """An image with what the model says of it, and its overlays so far.

    Args:
        photo: the image.
        scores: float32 [C], the model's probabilities, or None without a head.
        targets: classes to explain; empty for the predicted one.
    """

    def __init__(self, photo: Photo, scores: Tensor | None, targets: Sequence[int]) -> None:
        self.photo = photo
        self.scores = scores
        self.predicted = None if scores is None else int(scores.argmax())
        self.named = bool(targets)
        self.targets = list(targets) or ([] if self.predicted is None else [self.predicted])
        self.overlays: dict[tuple[str, int | None], Image.Image] = {}

    @property
    def grid_file(self) -> str:
        """Where its grid is, relative to the output folder."""
        return f"grids/{self.photo.name}.png"

    def stem(self, method: str, target: int | None) -> str:
        """Where a map is, relative to the output folder and without suffix; the class is named if it was typed."""
        suffix = "" if target is None or not self.named else f"_{target}"
        return f"maps/{self.photo.name}/{method}{suffix}"

    def score(self, target: int | None) -> float | str:
        """Probability of a class; "" if there is none."""
        return "" if self.scores is None or target is None else round(float(self.scores[target]), 6)


def explain_batch(task: Task, photos: Sequence[Photo], out: Path) -> Iterator[Row]:
    """Compute and write the maps of some images, and then their grids.

    Args:
        task: model, methods and classes.
        photos: the images.
        out: folder to write to.

    Yields:
        A row per map, once its files are written; method by method.
    """
    images = normalize(task.vit, torch.stack([photo.pixels for photo in photos]).to(task.device))
    scores = probabilities(task.vit, images)
    batch = [
        Explained(photo, None if scores is None else scores[i], task.targets)
        for i, photo in enumerate(photos)
    ]
    targets = [
        torch.tensor(classes, device=task.device)
        for classes in zip(*(one.targets for one in batch), strict=True)
    ]
    for method, position, maps in maps_of(task.vit, images, task.methods, targets):
        for one, saliency in zip(batch, maps, strict=True):
            target = None if position is None else one.targets[position]
            _write_map(one, method, target, saliency, out)
            yield _row(one, method, target, task.classes)
    for one in batch:
        with atomic_write(out / one.grid_file) as file:
            grid(_cells(one, task)).save(file, format="PNG")


def _write_map(one: Explained, method: str, target: int | None, saliency: Tensor, out: Path) -> None:
    stem = one.stem(method, target)
    with atomic_write(out / f"{stem}.npy") as file:
        np.save(file, resized_map(saliency, one.photo.size).numpy())
    shown = one.photo.shown
    # Of a signed map the positive part, what speaks for the class; zero would else be half-way bright everywhere.
    picture = overlay(shown, resized_map(saliency.clamp(min=0), (shown.shape[1], shown.shape[2])))
    one.overlays[method, target] = thumbnail(picture)
    with atomic_write(out / f"{stem}.png") as file:
        picture.save(file, format="PNG")


def _row(one: Explained, method: str, target: int | None, classes: Classes) -> Row:
    stem = one.stem(method, target)
    return Row(
        image=str(one.photo.path),
        name=one.photo.name,
        height=one.photo.size[0],
        width=one.photo.size[1],
        predicted="" if one.predicted is None else one.predicted,
        predicted_name="" if one.predicted is None else classes.name(one.predicted),
        probability=one.score(one.predicted),
        method=method,
        target="" if target is None else target,
        target_name="" if target is None else classes.name(target),
        target_probability=one.score(target),
        map=f"{stem}.npy",
        overlay=f"{stem}.png",
        grid=one.grid_file,
    )


def _cells(one: Explained, task: Task) -> list[list[Cell]]:
    """A row of cells for each class; of one class, broken into several rows."""
    targets: Sequence[int | None] = one.targets or [None]
    rows = [_cells_of_class(one, target, task) for target in targets]
    return reflow(rows[0]) if len(rows) == 1 else rows


def _cells_of_class(one: Explained, target: int | None, task: Task) -> list[Cell]:
    predicted = (
        f"predicted: {_described(one, one.predicted, task.classes)}" if one.predicted is not None else ""
    )
    picture = thumbnail(photo(one.photo.shown))
    cells = [Cell(picture, one.photo.name, predicted)]
    for name, extractor in task.methods.items():
        if extractor.class_specific:
            cells.append(Cell(one.overlays[name, target], name, _described(one, target, task.classes)))
        else:
            cells.append(Cell(one.overlays[name, None], name, "not class-specific"))
    return cells


def _described(one: Explained, target: int | None, classes: Classes) -> str:
    return "" if target is None else f"{classes.describe(target)}, {shown_probability(one.score(target))}"
