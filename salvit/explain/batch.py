"""One batch of images: their maps, overlays and grids, computed and written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from salvit.explain.explained import Explained, grid_file
from salvit.explain.grid import grid, thumbnail
from salvit.explain.images import Photo, resized_map
from salvit.explain.index import Index
from salvit.explain.layout import layout
from salvit.explain.maps import probabilities, saliency_of
from salvit.explain.progress import Bar
from salvit.explain.task import Step, Task
from salvit.files import atomic_write
from salvit.report.pictures import capped, overlay
from salvit.vit import normalize

_SHOWS = "maps"
"""Key of the text in a grid's file that says which maps it shows."""

_COMPRESSION = 1
"""Of PNG files: 4 times as fast as Pillow's default, for files 1 to 8 % larger."""


def explain_batch(task: Task, photos: Sequence[Photo], index: Index, bar: Bar) -> None:
    """Compute and write what is missing of some images: maps, each of which is then a row of the index, and grids.

    Args:
        task: model, methods and classes.
        photos: the images.
        index: of the folder to write to.
        bar: to count the maps by.
    """
    images = normalize(task.vit, torch.stack([photo.pixels for photo in photos]).to(task.device))
    scores = probabilities(task, images)
    batch = [
        Explained(photo, None if scores is None else scores[i], task.targets, task.classes)
        for i, photo in enumerate(photos)
    ]
    for step in task.steps:
        wanting = [i for i, one in enumerate(batch) if step in missing_steps(task, one.photo.name, index)]
        for part in _parts(wanting, task, step):
            bar.say(_doing(task, step))
            targets = [batch[i].target(step) for i in part]
            target = None if step.position is None else torch.tensor(targets, device=task.device)
            for i, saliency in zip(part, saliency_of(task, step.method, images[part], target), strict=True):
                _write_map(batch[i], step, saliency, task.stem(batch[i].photo.name, step), index)
                bar.advance()
    bar.say("grids")
    for one in batch:
        _write_grid(one, task, index)


def missing_steps(task: Task, name: str, index: Index) -> list[Step]:
    """The maps that the image of a name does not have yet."""
    there = index.of(name)
    return [step for step in task.steps if f"{task.stem(name, step)}.npy" not in there]


def has_grid(task: Task, name: str, index: Index) -> bool:
    """Whether the grid of the image of a name shows what this run is to show."""
    try:
        with Image.open(index.folder / grid_file(name)) as picture:
            return picture.info.get(_SHOWS) == _shows(task, name, index)
    except (OSError, SyntaxError, ValueError):  # missing, or no picture
        return False


def _shows(task: Task, name: str, index: Index) -> str:
    """The maps of a grid, and of which model and version of the image they are."""
    images = {row.image_sha256 for row in index.of(name).values()}
    maps = [Path(task.stem(name, step)).name for step in task.steps]
    return " ".join([task.model, str(task.size), *sorted(images), *maps])


def _parts(positions: Sequence[int], task: Task, step: Step) -> Iterator[list[int]]:
    """Images of a batch at a time: of methods that take minutes for each, one."""
    size = 1 if task.methods[step.method].forward_passes(task.vit) > 1 else max(1, len(positions))
    for start in range(0, len(positions), size):
        yield list(positions[start : start + size])


def _doing(task: Task, step: Step) -> str:
    count = task.methods[step.method].forward_passes(task.vit)
    passes = f" ({count} forward passes)" if count > 1 else ""
    of_class = ""
    if task.targets and step.position is not None:
        of_class = f" of {task.classes.describe(task.targets[step.position])}"
    return f"{step.method}{of_class}{passes}"


def _write_map(one: Explained, step: Step, saliency: Tensor, stem: str, index: Index) -> None:
    with atomic_write(index.folder / f"{stem}.npy") as file:
        np.save(file, resized_map(saliency, one.photo.size).numpy())
    shown = one.photo.shown
    # Of a signed map the positive part, what speaks for the class; zero would else be half-way bright everywhere.
    positive = saliency.clamp(min=0)
    if saliency.shape == one.photo.pixels.shape[1:]:
        positive = capped(positive)
    picture = overlay(shown, resized_map(positive, (shown.shape[1], shown.shape[2])))
    one.overlays[step] = thumbnail(picture)
    with atomic_write(index.folder / f"{stem}.png") as file:
        picture.save(file, format="PNG", compress_level=_COMPRESSION)
    index.add(one.row(step, stem))


def _read_overlay(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return thumbnail(picture)
    except (OSError, SyntaxError, ValueError) as error:  # whichever Pillow raises for a damaged PNG
        raise OSError(f"{path} is damaged: delete it, and it is made anew ({error})") from error


def _write_grid(one: Explained, task: Task, index: Index) -> None:
    name = one.photo.name
    for step in task.steps:
        if step not in one.overlays:  # of an earlier run
            one.overlays[step] = _read_overlay(index.folder / f"{task.stem(name, step)}.png")
    about = PngImagePlugin.PngInfo()
    about.add_text(_SHOWS, _shows(task, name, index))
    with atomic_write(index.folder / one.grid_file) as file:
        grid(layout(one, task.steps)).save(file, format="PNG", compress_level=_COMPRESSION, pnginfo=about)
    index.set_grid(name, one.grid_file)
