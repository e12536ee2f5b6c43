"""`salvit explain` from its options to its table: read, compute and write, one batch of images after the other."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from datamodules.errors import CorruptFileError
from datamodules.progress import track
from salvit.explain.batch import explain_batch
from salvit.explain.images import Photo, read_photo
from salvit.explain.index import Row, summary, write_index
from salvit.explain.inputs import Input, find_inputs
from salvit.explain.methods import check_methods
from salvit.explain.parser import Options
from salvit.explain.task import Task, make_task, write_record
from salvit.extractors import RISE


@dataclass
class Outcome:
    """What came of the images.

    Attributes:
        rows: of the maps written, image by image.
        failures: why the other images cannot be read, each beginning with the path.
    """

    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def explain(options: Options) -> Outcome:
    """Do what a command line of `salvit explain` says.

    Args:
        options: the command line.

    Returns:
        What was written, and what could not be read.

    Raises:
        ValueError: if an option does not fit the model or the others, or no image at all can be read.
        OSError: if a file is missing, or the output folder cannot be made.
        RuntimeError: if there is no such device, or no weights.
    """
    check_methods(options.methods)
    inputs = find_inputs(options.images, written=[options.out / "grids", options.out / "maps"])
    _make_folder(options.out)
    task = make_task(options)
    for name, reason in task.left_out.items():
        print(f"left out: {name}: {reason}")
    if isinstance(rise := task.methods.get("rise"), RISE):
        print(f"rise takes {rise.masks} forward passes per image and class")
    write_record(options.out / "explain.json", options, task)
    outcome = Outcome()
    steps = _steps(task, inputs, options, outcome)
    for _ in track(steps, "maps", len(inputs) * task.maps_per_image):
        pass
    if not outcome.rows:
        raise CorruptFileError("\n".join(["none of the images can be read:", *outcome.failures]))
    title = f"{options.model}, input {task.size[0]}×{task.size[1]}: {', '.join(task.methods)}"
    Console().print(summary(outcome.rows, title))
    print(f"maps and pictures are in {options.out}; explain.csv lists them")
    return outcome


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder --out {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write to the folder --out {folder}")


def _steps(task: Task, inputs: Sequence[Input], options: Options, outcome: Outcome) -> Iterator[None]:
    """Explain the images, yielding after each map; the index is complete after each batch."""
    order = {source.name: position for position, source in enumerate(inputs)}
    for start in range(0, len(inputs), options.batch_size):
        photos = list(_readable(inputs[start : start + options.batch_size], task, outcome.failures))
        rows: list[Row] = []
        for row in explain_batch(task, photos, options.out) if photos else ():
            rows.append(row)
            yield
        outcome.rows += sorted(rows, key=lambda row: order[row.name])
        if rows:
            write_index(options.out / "explain.csv", outcome.rows)


def _readable(inputs: Sequence[Input], task: Task, failures: list[str]) -> Iterator[Photo]:
    for source in inputs:
        try:
            yield read_photo(source, task.size)
        except CorruptFileError as error:
            failures.append(str(error))
