"""`salvit explain` from its options to its table: check, then read, compute and write batch by batch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from datamodules.base import CorruptFileError
from salvit.explain.batch import explain_batch, has_grid, missing_steps
from salvit.explain.explained import grid_file
from salvit.explain.folder import MAPS, alone, make_folder
from salvit.explain.images import Photo, file_hash, read_photo
from salvit.explain.index import Index, Row
from salvit.explain.inputs import Input, find_inputs
from salvit.explain.methods import check_methods
from salvit.explain.parser import Options
from salvit.explain.progress import Bar
from salvit.explain.record import join_record, make_record, write_record
from salvit.explain.summary import summary
from salvit.explain.task import Task, make_task


@dataclass
class Run:
    """A command line that was checked, and what has come of it so far.

    Attributes:
        options: the command line.
        task: model, methods and classes.
        inputs: the images.
        index: what is in the folder of results.
        failures: why other images cannot be read or named, each beginning with the path.
    """

    options: Options
    task: Task
    inputs: Sequence[Input]
    index: Index
    failures: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """Of the maps asked for that are there, image by image."""
        steps = self.task.steps
        return [
            rows[file]
            for name, _ in self.inputs
            for rows in [self.index.of(name)]
            for file in (f"{self.task.stem(name, step)}.npy" for step in steps)
            if file in rows
        ]


def prepare(options: Options, closing: ExitStack) -> Run:
    """Check all that can be checked before anything is computed.

    Args:
        options: the command line.
        closing: keeps other runs out of the output folder until it is closed.

    Raises:
        ValueError: if an option does not fit the model, the others, or what is in the output folder.
        OSError: if a file is missing, or the output folder cannot be made or written to.
        RuntimeError: if there is no such device, or no weights, or another run writes to the output folder.
    """
    check_methods(options.methods, options.without)
    inputs, refused = find_inputs(options.images)
    task = make_task(options)
    make_folder(options.out)
    closing.enter_context(alone(options.out))
    index = Index(options.out)
    record = make_record(options, task)
    if not index.is_empty:
        record = join_record(record, options.out)
        inputs = _named_as_before(inputs, index)
        _require_same_images(inputs, index)
    write_record(record, options.out)
    return Run(options, task, inputs, index, refused)


def explain(run: Run) -> None:
    """Compute and write the maps that are missing, and print what there is.

    Args:
        run: the command line; its index and failures are added to.

    Raises:
        ValueError: if no image at all can be read, or what the model says is not finite.
        OSError: if a file cannot be written.
        RuntimeError: if the device has not enough memory.
    """
    _announce(run)
    try:
        _compute(run)
    except BaseException:
        with suppress(OSError):  # the disk may be full, which is then said already
            run.index.write()
        raise
    rows, task = run.rows, run.task
    if not rows:
        raise CorruptFileError("\n".join(["none of the images can be explained:", *run.failures]))
    run.index.write()
    title = f"{task.model}, input {task.size[0]}×{task.size[1]}: {', '.join(task.methods)}"
    Console().print(summary(rows, title))
    print(f"maps and pictures are in {run.options.out}; explain.csv lists them")


def _named_as_before(inputs: Sequence[Input], index: Index) -> list[Input]:
    """Call images what their maps are called: a name depends on which others it must differ from."""
    taken = {name for name, _ in inputs}
    named: list[Input] = []
    for name, path in inputs:
        # A file of the same content that is still there is another image, a copy, and its maps stay its own.
        content = _hash(path)
        known = index.images_of(content)
        before = [
            other
            for other, image in known.items()
            if other not in taken and (_hash(image) != content or image.samefile(path))
        ]
        if before and name not in known:
            name = before[0]
            taken.add(name)
        named.append(Input(name, path))
    return named


def _require_same_images(inputs: Sequence[Input], index: Index) -> None:
    """Raise if there are maps of another image, or of another version of an image, by the name of one of these."""
    by_path = index.names_by_path()
    asked = {name for name, _ in inputs}
    for name, path in inputs:
        # Where names were swapped, the maps of what was called so stay in the table, under the path of another.
        for known in {name, *by_path.get(str(path), set()) - asked}:
            there = {row.image_sha256: row.image for row in index.of(known).values()}
            found = _hash(path) if there else None
            if found is not None and {found} != set(there):
                raise ValueError(
                    f"{index.folder} has maps of another image than {path} by the name {known} (of "
                    f"{next(iter(there.values()))}, or as it was before it changed): take another --out, "
                    f"or delete {index.folder / MAPS / known}"
                )


def _hash(path: Path) -> str | None:
    """Of a file that can be read; that another cannot is said when it is read."""
    try:
        return file_hash(path)
    except OSError:
        return None


def _announce(run: Run) -> None:
    for name, reason in run.task.left_out.items():
        print(f"left out: {name}: {reason}")
    wanted = len(run.inputs) * len(run.task.steps)
    if there := len(run.rows):
        print(f"{there} of {wanted} maps are in {run.options.out} already")
    for method, extractor in run.task.methods.items():
        passes = extractor.forward_passes(run.task.vit)
        if passes > 1 and there < wanted:
            print(f"{method} takes {passes} forward passes per image and class")


def _compute(run: Run) -> None:
    task, index, options = run.task, run.index, run.options
    missing = {name: len(missing_steps(task, name, index)) for name, _ in run.inputs}
    with_grid = {name for name, _ in run.inputs if has_grid(task, name, index)}
    unfinished = [one for one in run.inputs if missing[one.name] or one.name not in with_grid]
    for name, path in run.inputs:
        if index.of(name):
            index.set_image(name, str(path))
        if name in with_grid:
            index.set_grid(name, grid_file(name))
    even = not any(extractor.forward_passes(task.vit) > 1 for extractor in task.methods.values())
    with Bar(sum(missing.values()), even) as bar:
        for start in range(0, len(unfinished), options.batch_size):
            batch = unfinished[start : start + options.batch_size]
            photos = list(_readable(batch, task, run.failures))
            if photos:
                explain_batch(task, photos, index, bar)
            read = {photo.name for photo in photos}
            bar.advance(sum(missing[name] for name, _ in batch if name not in read))
        bar.say("maps")


def _readable(inputs: Sequence[Input], task: Task, failures: list[str]) -> Iterator[Photo]:
    for source in inputs:
        try:
            yield read_photo(source, task.size)
        except CorruptFileError as error:
            failures.append(str(error))
