"""What `salvit doctor` checks."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import timm
import torch
from packaging.requirements import Requirement

import datamodules
from datamodules import FilesDataModule
from datamodules.base import Split
from salvit import __version__
from salvit.errors import SalvitError
from salvit.results.machine import machine
from salvit.vit.hub import cached_weights
from salvit.vit.plain import TIMM_MODULES

State = Literal["ok", "note", "WRONG"]
LEAST_ROOM = 1.0
"""Gigabytes that a folder needs: a run of ViT-B/16 with pictures and maps of a dataset takes less."""
_GB = 1e9
_EXTRAS = ("emd", "export", "baselines")
_LOGIN_SECONDS = 30
_LOGIN = """
import wandb
try:
    print("yes" if wandb.login(prompt=False) else "no login")
except Exception as error:
    print(str(error).partition("\\n")[0])
"""
_OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "Salicon": ({}, {"release": "2015"}),
    "VOC2012": ({"classes": "all"},),
}
"""Options with which a dataset is looked at, where the defaults do not take all of it; one of several has to fit."""
_PUBLISHED: dict[str, dict[Split, int]] = {
    "OSIE": {"train": 500, "val": 200},
    "CAT2000": {"train": 1600, "val": 400},
    "MIT1003": {"train": 802, "val": 201},
    "MIT300": {"predict": 300},
    "P3O3": {"test": 4515},
    "ImageNetVal": {"val": 50000},
    "VOC2012": {"train": 5717, "val": 5823},
    "CUB200": {"train": 5994, "test": 5794},
}
"""Images of the splits as published; without SALICON, whose layout other datasets have as well."""


class Check(NamedTuple):
    """One line of the report: how it stands with a subject."""

    state: State
    subject: str
    text: str


def all_checks(roots: Mapping[str, str], runs: Path) -> Iterator[Check]:
    """Check everything, one thing after the other.

    Args:
        roots: folders of datasets by name, beside those in environment variables.
        runs: folder of all runs, which need not exist yet.

    Raises:
        KeyError: if a dataset has another name than those of `dataset_kinds`.
    """
    yield from check_versions()
    yield from check_devices()
    yield check_wandb()
    yield from check_datasets(roots)
    yield from check_weights()
    yield check_room("runs", runs)
    yield check_room("temporary", Path(tempfile.gettempdir()))


def check_versions() -> Iterator[Check]:
    """Are all packages there in the versions that salvit needs, and which extras are?"""
    python = ".".join(map(str, sys.version_info[:3]))
    needed = [Requirement(line) for line in requires("salvit") or []]
    base = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    shown = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "wandb")
    found = {one.name: _version(one.name) for one in base}
    listed = [f"{name} {found.get(name)}" for name in shown]
    yield Check("ok", "versions", ", ".join([f"salvit {__version__}", f"python {python}", *listed]))
    for one in base:
        present = found[one.name]
        if present is None or not one.specifier.contains(present, prereleases=True):
            state = "not installed" if present is None else f"version {present}"
            yield Check("WRONG", one.name, f'{state}, salvit needs {one.specifier}: pip install -U "{one}"')
    for extra in _EXTRAS:
        packages = [one for one in needed if one.marker and one.marker.evaluate({"extra": extra})]
        missing = [one.name for one in packages if one not in base and _version(one.name) is None]
        if missing:
            yield Check(
                "note", "versions", f"without {', '.join(missing)}: the extra [{extra}] is not installed"
            )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_devices() -> Iterator[Check]:
    """Which processors and GPUs can torch use?"""
    yield Check("ok", "CPU", f"{machine()}, {torch.get_num_threads()} threads of torch")
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        free, total = torch.cuda.mem_get_info(index)
        yield Check("ok", "GPU", f"cuda:{index} {name}, {free / _GB:.1f} of {total / _GB:.1f} GB free")
    if torch.cuda.is_available():
        return
    if torch.backends.mps.is_available():
        yield Check("note", "GPU", "mps; it has no float64, which full_lrp computes in by default")
    elif shutil.which("nvidia-smi"):
        built = torch.version.cuda
        reason = f"this torch needs a driver for CUDA {built}" if built else "this torch is built for CPUs"
        yield Check(
            "note", "GPU", f"NVIDIA's driver is there, but {reason}: see https://pytorch.org/get-started"
        )
    else:
        yield Check("note", "GPU", "none: everything runs on the CPU")


def check_wandb() -> Check:
    """Where would a run be logged? Asked as a run asks, in a process of its own that cannot hang."""
    if mode := os.environ.get("WANDB_MODE"):
        return Check("ok", "W&B", f"WANDB_MODE={mode}")
    environment = {**os.environ, "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", _LOGIN]
    try:
        asked = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_LOGIN_SECONDS, check=False
        )
        answer = (asked.stdout.strip() or asked.stderr.strip() or "no answer").splitlines()[-1]
    except subprocess.TimeoutExpired:
        answer = f"no answer within {_LOGIN_SECONDS} s"
    if answer == "yes":
        return Check("ok", "W&B", "logged in: runs are logged online")
    return Check(
        "note", "W&B", f"{answer}: runs are logged offline; `wandb login` logs in, --wandb false turns it off"
    )


def dataset_kinds() -> dict[str, type[FilesDataModule]]:
    """The datamodules that read a dataset from disk, by name.

    Example:
        >>> dataset_kinds()["OSIE"].env
        'SALVIT_OSIE_ROOT'
    """
    kinds = {name.removesuffix("DataModule"): getattr(datamodules, name) for name in datamodules.__all__}
    return {name: kind for name, kind in kinds.items() if hasattr(kind, "env")}


def check_datasets(roots: Mapping[str, str]) -> Iterator[Check]:
    """Is each dataset whose root is named complete?

    Args:
        roots: folders by name of the dataset; they win over environment variables.
    """
    kinds = dataset_kinds()
    not_set = []
    for name, kind in kinds.items():
        if root := roots.get(name) or os.environ.get(kind.env):
            yield check_dataset(name, root)
        else:
            not_set.append(kind.env)
    if not_set:
        yield Check("note", "data", f"not set: {', '.join(not_set)}")
    known = {kind.env for kind in kinds.values()}
    for variable in sorted(os.environ):
        if variable.startswith("SALVIT_") and variable.endswith("_ROOT") and variable not in known:
            yield Check("WRONG", "data", f"{variable} is set, but no dataset has this variable")


def check_dataset(name: str, root: str) -> Check:
    """Is a dataset complete, and can the first image of each split be read?

    Args:
        name: as in `dataset_kinds`.
        root: its folder.
    """
    errors = []
    for options in _OPTIONS.get(name, ({},)):
        data = dataset_kinds()[name](root, num_workers=0, **options)
        try:
            datasets = {split: data.dataset(split) for split in dict.fromkeys(data.splits.values())}
            for dataset in datasets.values():
                dataset[0]
        except (SalvitError, OSError) as error:
            errors.append(str(error))
            continue
        counts = {split: len(dataset) for split, dataset in datasets.items()}
        text = f"{', '.join(f'{count} {split}' for split, count in counts.items())} images in {root}"
        published = _PUBLISHED.get(name, {})
        if any(counts[split] < count for split, count in published.items()):
            whole = ", ".join(f"{count} {split}" for split, count in published.items())
            return Check("WRONG", name, f"{text}, but {whole} are published: is a part not unpacked?")
        return Check("ok", name, text)
    return Check("WRONG", name, errors[0])


def check_weights() -> Iterator[Check]:
    """Is the ViT that comes with salvit there, and which of timm's need no network?"""
    shipped = Path(__file__).parents[1] / "weights"
    lost = [
        name for name in ("salvit_tiny.safetensors", "salvit_tiny.json") if not (shipped / name).is_file()
    ]
    if lost:
        yield Check("WRONG", "weights", f"{shipped} lacks {', '.join(lost)}: install salvit again")
    else:
        yield Check("ok", "weights", "salvit_tiny comes with salvit")
    names = timm.list_models(module=list(TIMM_MODULES), pretrained=True)
    cached = {name: file for name in names if (file := cached_weights(name))}
    sizes = [f"{name} ({Path(file).stat().st_size / _GB:.2f} GB)" for name, file in cached.items()]
    yield Check(
        "ok" if sizes else "note", "weights", f"in the cache of timm's ViTs: {', '.join(sizes) or 'none'}"
    )


def check_room(subject: str, folder: Path) -> Check:
    """Is there room in a folder, and may salvit write there?

    Args:
        subject: what the folder is for.
        folder: it, or where it would be made.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        return Check("WRONG", subject, f"no file can be written in {place}: name another folder")
    free = shutil.disk_usage(place).free / _GB
    text = f"{free:.1f} GB free in {place}"
    if free < LEAST_ROOM:
        return Check("WRONG", subject, f"{text}, and at least {LEAST_ROOM:.0f} GB are needed: make room")
    return Check("ok", subject, text)
