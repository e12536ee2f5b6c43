"""The option `--ckpt_path`: which checkpoint it names, and the model that the checkpoint describes."""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from pydoc import locate
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from salvit.errors import InvalidValueError
from salvit.modules import ClassificationModule, SaliencyModule
from salvit.modules.checkpoint import Description, Which, find_checkpoint, read_checkpoint
from salvit.modules.trained import TrainedModule

Options = Mapping[str, Any]

_KEYWORDS: tuple[Which, ...] = ("last", "best")
_CALLBACKS: dict[tuple[str, type[TrainedModule]], list[str]] = {
    ("test", SaliencyModule): ["salvit.callbacks.scores.Scores", "salvit.callbacks.pictures.Pictures"],
    ("predict", SaliencyModule): ["salvit.callbacks.predictions.PredictionWriter"],
    ("test", ClassificationModule): ["salvit.callbacks.classification_scores.ClassificationScores"],
}
"""Callbacks by command and module, if no config names any."""


def with_description(arguments: Sequence[str]) -> list[str]:
    """Put the description in a checkpoint, as a config, before the typed options.

    The model and the size of the images always come from the checkpoint. The datamodule and the callbacks do where
    neither a config nor a datamodule was typed; `predict` takes a folder of images.

    Args:
        arguments: command and options.

    Raises:
        FileNotFoundError, ValueError: if there is no such checkpoint, or it cannot be read.
    """
    typed = _typed(arguments)
    if typed is None or typed.ckpt_path is None:
        return list(arguments)
    if typed.ckpt_path not in _KEYWORDS:
        path = typed.ckpt_path
    elif typed.name:
        path = find_checkpoint(typed.ckpt_path, Path(typed.runs, typed.name.replace(":", ",")))
    else:
        return list(arguments)  # a config says the experiment and the model
    stored = read_checkpoint(path).get("salvit")
    if stored is None:
        return list(arguments)
    command, *options = arguments
    whole = not (typed.config or typed.data)
    config = _config(command, stored, whole)
    if whole:
        config["name"] = "predict" if command == "predict" else _experiment(Path(path), Path(typed.runs))
    return [command, "--config", json.dumps(config), *options]


def choose_checkpoint(command: str, options: Options) -> Path | None:
    """The checkpoint that a command takes; None for a model with the weights that it is built with.

    Args:
        command: "fit", "validate", "test" or "predict".
        options: of the command, parsed.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if a model that is fitted is scored without a checkpoint, or `--untrained` contradicts it.
    """
    if options.get("weights_only") is False:
        raise InvalidValueError(
            "--weights_only false is refused: it would run code that a checkpoint may hold"
        )
    typed, untrained = options.get("ckpt_path"), options.get("untrained")
    if typed and untrained:
        raise InvalidValueError("--untrained true contradicts --ckpt_path: leave one out")
    if typed in _KEYWORDS:
        path = find_checkpoint(typed, experiment_folder(options))
        rank_zero_info(f"taking {path}, fitted on {_date(path)}")
        return path
    if typed:
        return Path(typed)
    if command != "fit" and _needs_fit(options):
        if not untrained:
            raise InvalidValueError(_without_checkpoint(command, experiment_folder(options)))
        rank_zero_warn(
            f"untrained decoder: `salvit {command}` takes random weights, as --untrained true asks for"
        )
    return None


def experiment_folder(options: Options) -> Path:
    """Folder of all runs of an experiment.

    Example:
        >>> experiment_folder({"runs": "runs", "name": "osie"}).as_posix()
        'runs/osie'
    """
    return Path(options["runs"], options["name"])


def _typed(arguments: Sequence[str]) -> argparse.Namespace | None:
    """The options that decide what is taken from a checkpoint; None if they are wrong."""
    scanner = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scanner.add_argument("-c", "--config", action="append")
    scanner.add_argument("--data")
    scanner.add_argument("--ckpt_path")
    scanner.add_argument("--name")
    scanner.add_argument("--runs", default="runs")
    try:
        return scanner.parse_known_args(arguments)[0]
    except argparse.ArgumentError:  # the parser reports it
        return None


def _config(command: str, stored: Description, whole: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"model": {key: stored[key] for key in ("class_path", "init_args")}}
    data = stored["data"]
    if data is not None and not (whole and command != "predict"):
        folder = "datamodules.ImageFolderDataModule"
        size = {"image_size": data["init_args"]["image_size"]} if "image_size" in data["init_args"] else {}
        data = {"class_path": folder if command == "predict" else data["class_path"], "init_args": size}
    if data is not None:
        config["data"] = data
    kind = locate(stored["class_path"])
    if whole and isinstance(kind, type):
        of_kind = (
            one for (stage, base), one in _CALLBACKS.items() if stage == command and issubclass(kind, base)
        )
        paths = next(of_kind, [])
        config["trainer"] = {"callbacks": [{"class_path": path} for path in paths] or None}
    return config


def _experiment(checkpoint: Path, runs: Path) -> str:
    """The name of the fit that wrote RUNS/NAME/version_N/checkpoints/FILE; "default" for any other file."""
    below = checkpoint.resolve().parent
    if below.name != "checkpoints" or not below.is_relative_to(runs.resolve()):
        return "default"
    name = below.parents[1].relative_to(runs.resolve()).as_posix()
    return "default" if name == "." else name


def _needs_fit(options: Options) -> bool:
    kind = locate(options["model"]["class_path"])
    return isinstance(kind, type) and issubclass(kind, TrainedModule)


def _without_checkpoint(command: str, folder: Path) -> str:
    try:
        path = find_checkpoint("last", folder)
        newest = f"the newest of this experiment is --ckpt_path {path}, fitted on {_date(path)} (or --ckpt_path last)"
    except FileNotFoundError:
        newest = f"`salvit fit` makes one, and there is none under {folder}"
    return f"`salvit {command}` needs a checkpoint: {newest}. --untrained true takes random weights, and results say so"


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "minutes")
