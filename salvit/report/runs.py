"""The runs under a folder, read from the files that the commands wrote: which test belongs to which fit."""

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from natsort import natsort_key

from salvit.errors import InvalidTypeError, InvalidValueError, MissingFileError
from salvit.results.files import file_hash

_IRRELEVANT = ("trainer.logger", "trainer.callbacks", "ckpt_path", "verbose", "data.init_args.num_workers")
"""Prefixes of the options that do not change a model; labels leave them out."""

STAGES = ("fit", "validate", "test", "predict")
_FIELDS = {
    **dict.fromkeys(("command", "stage", "started", "machine", "device"), str),
    "seconds": int | float | None,
    "versions": dict,
}
"""Fields of `run.json` that a report needs, and their types."""


@dataclass(frozen=True)
class Run:
    """One command's log folder.

    Attributes:
        folder: where its files are.
        record: `run.json`, see `salvit.callbacks.provenance.Provenance`.
        config: `config.yaml`, the whole resolved configuration.
        about: `scores.json`, what was scored; empty if nothing was.
        label: what was run; unique among the runs of one stage and dataset.
        fit: the fit whose checkpoint it used, if it is under the same folder.
    """

    folder: Path
    record: dict[str, Any]
    config: dict[str, Any]
    about: dict[str, Any]
    label: str = ""
    fit: "Run | None" = None

    @property
    def stage(self) -> str:
        """`fit`, `validate`, `test` or `predict`."""
        return str(self.record["stage"])

    @property
    def explains(self) -> bool:
        """Whether it scored methods that explain a model, not a model."""
        return any("group" in table for table in self.about.get("tables", []))

    @property
    def started(self) -> str:
        """When it started, in a form that sorts."""
        return str(self.record["started"])


def find_runs(root: Path) -> list[Run]:
    """Find the runs under a folder.

    A run is labelled by its model. Where several runs have the same model, the options of the fit that differ, or else
    the folder, are added. A test has the label of the fit whose checkpoint it used. A fit that was resumed is left out:
    the log of the later one begins with its rows. A run whose files are damaged is left out, with a warning.

    Returns:
        The runs in natural order of their labels (k=8 before k=16), then in order of time.

    Raises:
        FileNotFoundError: There is no run.
    """
    found = (_whole_run(path.parent) for path in sorted(root.rglob("run.json")))
    runs = sorted(filter(None, found), key=lambda run: run.started)
    if not runs:
        raise MissingFileError(
            f"no run under {root}: expected folders with a run.json, which `salvit fit` and `salvit test` write "
            "into the folder of each run"
        )
    resumed = {run.record.get("continues") for run in runs}
    runs = [run for run in runs if str(run.folder.resolve()) not in resumed]
    fits = [run for run in runs if run.stage == "fit"]
    runs = [replace(run, fit=run if run.stage == "fit" else _fit_of(run, fits)) for run in runs]
    models = list({(run.fit or run).folder: run.fit or run for run in runs}.values())
    labels = _distinct(models, [_model(run, root) for run in models], root)
    of_model = {run.folder: label for run, label in zip(models, labels, strict=True)}
    labels = [of_model[(run.fit or run).folder] for run in runs]
    scored = [[run.stage, *(run.about.get(key) for key in ("dataset", "release", "split"))] for run in runs]
    labels = _distinct(runs, labels, root, kinds=[str(kind) for kind in scored])
    runs = [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]
    return sorted(runs, key=lambda run: (natsort_key(run.label), run.started))


def _whole_run(folder: Path) -> Run | None:
    """The run of a folder; None, with a warning, if a file of it is missing, cut off or not as salvit wrote it."""
    try:
        run = read_run(folder)
        _require_known(run)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        [reason, *_] = str(error).splitlines() or [""]
        message = f"left out: {folder} is no whole run: {type(error).__name__}: {reason}"
        warnings.warn(message, stacklevel=2)
        return None
    return run


def read_run(folder: Path) -> Run:
    """Read the files of one run; its label is empty, and the fit of a test is not looked for."""
    scores = folder / "scores.json"
    return Run(
        folder,
        record=json.loads((folder / "run.json").read_text(encoding="utf-8")),
        config=yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")),
        about=json.loads(scores.read_text(encoding="utf-8")) if scores.is_file() else {},
    )


def _require_known(run: Run) -> None:
    """Raise KeyError, TypeError or ValueError where a run lacks what a report needs."""
    for name, kind in _FIELDS.items():
        if not isinstance(value := run.record[name], kind):
            raise InvalidTypeError(f"run.json: {name} is {value!r}")
    if run.stage not in STAGES:
        raise InvalidValueError(f"run.json: stage is {run.stage!r}")
    if not isinstance(run.config["seed_everything"], int | None):
        raise InvalidTypeError("config.yaml: seed_everything is not a number")
    for table in run.about.get("tables", []):
        if not (run.folder / table.get("per_image", "scores.csv")).is_file():
            raise MissingFileError(f"its scores are missing: {table.get('per_image', 'scores.csv')}")


def _fit_of(run: Run, fits: Sequence[Run]) -> Run | None:
    """The fit that wrote a run's checkpoint: by path, by content if folders were moved, or the latest version."""
    if not (checkpoint := run.record.get("checkpoint")):
        return None
    path, digest = Path(checkpoint), str(run.record.get("checkpoint_sha256"))
    earlier = [fit for fit in reversed(fits) if fit.started <= run.started]
    by_path = (fit for fit in earlier if path.is_relative_to(fit.folder.resolve()))
    files = ((fit, file) for fit in earlier for file in fit.folder.rglob("*.ckpt"))
    by_content = (fit for fit, file in files if file_hash(file) == digest)
    beside_versions = (fit for fit in earlier if path.is_relative_to(fit.folder.resolve().parent))
    return next(chain(by_path, by_content, beside_versions), None)


def _model(run: Run, root: Path) -> str:
    name = str(run.record.get("model") or run.record.get("name") or _place(run, root))
    return f"{name} (untrained)" if run.record.get("untrained") and "untrained" not in name else name


def _place(run: Run, root: Path) -> str:
    """A logger's folder is save_dir/name/version: the name, or its part under the root."""
    folder, root = run.folder.resolve(), root.resolve()
    name = folder.parent if folder.parent.is_relative_to(root) else folder
    return name.relative_to(root).as_posix() if name != root else root.name


def _distinct(
    runs: Sequence[Run], labels: Sequence[str], root: Path, kinds: Iterable[str] | None = None
) -> list[str]:
    """Labels; where runs of one kind have the same, with the options that differ, or else the folder."""
    same: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, key in enumerate(zip(labels, kinds or [""] * len(runs), strict=True)):
        same[key].append(index)
    result = list(labels)
    for (label, _), members in same.items():
        if len(members) == 1:
            continue
        options = [dict(_options(runs[index].config)) for index in members]
        names = dict.fromkeys(name for one in options for name in one)
        differ = [name for name in names if len({repr(one.get(name)) for one in options}) > 1]
        for index, one in zip(members, options, strict=True):
            changes = (f"{name.rpartition('.')[2]}={one.get(name)}" for name in differ)
            result[index] = ", ".join([label, *changes])
        if len({result[index] for index in members}) < len(members):
            for index in members:
                result[index] += f" ({runs[index].folder.resolve().relative_to(root.resolve()).as_posix()})"
    return result


def _options(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _options(one, f"{name}.{key}" if name else key)
    elif not name.startswith(_IRRELEVANT):
        yield name, value
