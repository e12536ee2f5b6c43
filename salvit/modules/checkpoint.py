"""Checkpoints: how they are found and read, and how they describe their model."""

import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any, Literal, TypeVar
from zipfile import ZipFile

import torch
from lightning.pytorch import LightningModule
from natsort import natsorted
from torch import Tensor

from salvit.errors import InvalidValueError, MissingFileError
from salvit.extractors import Extractor
from salvit.modules.losses import SaliencyLoss
from salvit.vit.checkpoints import why_unreadable

Description = dict[str, Any]
Which = Literal["last", "best"]
_Module = TypeVar("_Module", bound=LightningModule)

_NOT_COMPARED = ("vit", "init_args", "data")


def find_checkpoint(which: Which, folder: Path) -> Path:
    """Find a checkpoint of the newest fit of an experiment that has one.

    Args:
        which: "last", of the last epoch, or "best", by the score that a `ModelCheckpoint` monitored.
        folder: of the experiment; its checkpoints are in `version_N/checkpoints` or `checkpoints`.

    Raises:
        FileNotFoundError: if there is none.
    """
    for last in _last_checkpoints(folder):
        found = last if which == "last" else _best_beside(last)
        if found is not None:
            return found
    if which == "best":
        raise MissingFileError(
            f"no best checkpoint under {folder}: a fit leaves one if its config has a ModelCheckpoint with `monitor`; "
            "`last` takes the last epoch"
        )
    raise MissingFileError(
        f"no checkpoint last.ckpt under {folder}: `salvit fit` leaves one in version_N/checkpoints"
    )


def _last_checkpoints(folder: Path) -> Iterator[Path]:
    """The last epochs of the fits in a folder, the newest fit first."""
    versions = natsorted(folder.glob("version_*"), key=str, reverse=True)
    candidates = (place / "checkpoints/last.ckpt" for place in (*versions, folder))
    return (path for path in candidates if path.is_file())


def _best_beside(last: Path) -> Path | None:
    """The best checkpoint of a fit, by what its last one says; the folder may have been moved since."""
    states = read_checkpoint(last).get("callbacks", {}).values()
    paths = [
        last.parent / Path(state["best_model_path"]).name
        for state in states
        if state.get("monitor") and state.get("best_model_path")
    ]
    return next((path for path in paths if path.is_file()), None)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU: tensors and plain values, nothing that runs code.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds more than tensors and plain values, or is something else.
    """
    if not Path(path).is_file():
        raise MissingFileError(
            f"no checkpoint {path}: --ckpt_path takes `last`, `best`, or a file on this machine that `salvit fit` "
            "has written"
        )
    if (reason := _why_damaged(Path(path))) is not None:
        whole = _whole_beside(Path(path))
        advice = f"; {whole} is whole" if whole else ""
        raise InvalidValueError(f"cannot read the checkpoint {path}: {reason}{advice}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise InvalidValueError(
            f"{path} is no Lightning checkpoint: --ckpt_path takes a file that `salvit fit` has written"
        )
    return content


def _why_damaged(path: Path) -> str | None:
    """Why a checkpoint cannot be read; None if it can. Torch does not compare its checksums, zipfile does."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
        with ZipFile(path) as archive:
            damaged = archive.testzip()
    # torch raises RuntimeError, UnpicklingError, EOFError, struct.error, KeyError and more on damaged files.
    except Exception as error:
        return why_unreadable(path, error)
    return None if damaged is None else f"the checksum of {damaged} in it is wrong: the file is damaged"


def _whole_beside(path: Path) -> Path | None:
    """The newest whole checkpoint in the same folder, or of an earlier run of the experiment."""
    others = {*path.parent.glob("*.ckpt"), *path.parent.parent.parent.glob("version_*/checkpoints/*.ckpt")}
    newest = sorted(others - {path}, key=lambda other: other.stat().st_mtime, reverse=True)
    return next((other for other in newest if _why_damaged(other) is None), None)


def describe(module: LightningModule, init_args: dict[str, Any], **must_match: Any) -> Description:
    """Describe a model in plain values, as they are stored in its checkpoints.

    Args:
        module: the model.
        init_args: arguments of its constructor; an extractor as its class path and arguments.
        **must_match: what must be the same in a model that loads its checkpoints.
    """
    return {
        "class_path": public_path(type(module)),
        "init_args": init_args,
        "vit": init_args["vit"],
        **must_match,
    }


def describe_extractor(extractor: Extractor) -> Description:
    """Class path and arguments of an extractor.

    Example:
        >>> from salvit.extractors import Rollout
        >>> describe_extractor(Rollout())["class_path"]
        'salvit.extractors.Rollout'
    """
    return {"class_path": public_path(type(extractor)), "init_args": extractor.options()}


def describe_data(module: LightningModule) -> Description | None:
    """Class path and arguments of the datamodule that a module is trained on, None without one."""
    try:
        data = getattr(module.trainer, "datamodule", None)
    except RuntimeError:  # of Lightning, where there is no trainer yet
        data = None
    if data is None:
        return None
    # Lightning adds names that begin with an underscore.
    options = {key: value for key, value in data.hparams.items() if not key.startswith("_")}
    return {"class_path": public_path(type(data)), "init_args": options}


def public_path(kind: type) -> str:
    """Import path of a class by the outermost package that offers it, which stays when a file moves.

    Example:
        >>> from salvit.extractors.rollout import Rollout
        >>> public_path(Rollout)
        'salvit.extractors.Rollout'
    """
    parts = kind.__module__.split(".")
    packages = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return next(
        f"{package}.{kind.__name__}"
        for package in packages
        if getattr(sys.modules.get(package), kind.__name__, None) is kind or package == kind.__module__
    )


def stored_path(path: str | Path | None) -> str | None:
    """A file's absolute path, so that a checkpoint finds it from any folder; names of models stay as they are."""
    if path is None:
        return None
    return str(Path(path).resolve()) if Path(path).is_file() else str(path)


def check_same_model(stored: Description | None, present: Description) -> None:
    """Raise unless a checkpoint belongs to the model that loads it.

    Backbones are compared by their weights, not by their names.

    Args:
        stored: description in the checkpoint, None if it has none.
        present: description of the model.

    Raises:
        ValueError: if there is no description or they differ; the message names each difference.
    """
    if stored is None:
        raise InvalidValueError("the checkpoint was not written by salvit's modules: it describes no model")
    differences = [
        f"  {key}: the checkpoint has {_typed(stored.get(key))}, this run has {_typed(present[key])}"
        for key in present
        if key not in _NOT_COMPARED and stored.get(key) != present[key]
    ]
    if differences:
        raise InvalidValueError(
            f"the checkpoint belongs to another model (backbone {stored.get('vit')!r}; here {present['vit']!r}):\n"
            + "\n".join(differences)
            + "\nLeave the model out of options and configs: it is taken from the checkpoint."
        )


def _typed(value: Any) -> Any:
    """An extractor as it is typed; everything else as it is."""
    kind: Any = locate(value["class_path"]) if isinstance(value, dict) and "class_path" in value else None
    return value if kind is None else kind(**value["init_args"])


def load_described(
    kind: type[_Module], path: str | Path, map_location: str | torch.device | None, options: dict[str, Any]
) -> _Module:
    """Make the module that a checkpoint describes, with its weights.

    Args:
        kind: class of the module.
        path: of the checkpoint.
        map_location: where to put the module; on the CPU by default.
        options: arguments that replace those in the checkpoint; the model must stay the same.

    Raises:
        FileNotFoundError, ValueError: as `read_checkpoint` and `check_same_model`.
    """
    content = read_checkpoint(path)
    stored = content.get("salvit")
    if stored is None or stored["class_path"] != public_path(kind):
        described = "no model" if stored is None else f"a {stored['class_path']}"
        raise InvalidValueError(f"{path} describes {described}, not a {public_path(kind)}")
    arguments = dict(stored["init_args"])
    for name, base in (("extractor", Extractor), ("loss", SaliencyLoss)):
        if name in arguments:
            arguments[name] = _made(arguments[name], base)
    module = kind(**{**arguments, **options})
    module.on_load_checkpoint(content)
    module.load_state_dict(content["state_dict"])
    return module.to(map_location or "cpu")


def _made(described: Description, base: type) -> Any:
    kind = locate(described["class_path"])
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise InvalidValueError(
            f"the checkpoint names {described['class_path']}, which is no {base.__name__}"
        )
    return kind(**described["init_args"])


def without_backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the frozen backbone's tensors from a state dict."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("vit.")}
