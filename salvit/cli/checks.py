"""What `salvit doctor` checks about the machine: versions, devices, W&B, weights and free disk space."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

import timm
import torch
from packaging.requirements import Requirement

from salvit import __version__
from salvit.results.machine import machine
from salvit.vit.hub import cached_weights
from salvit.vit.plain import TIMM_MODULES

State = Literal["ok", "note", "WRONG"]
LEAST_ROOM = 1.0
"""Gigabytes that a folder needs: a run of ViT-B/16 with pictures and maps of a dataset takes less."""
_GB = 1e9
_EXTRAS = ("emd", "export", "baselines", "regions")
_LOGIN_SECONDS = 30
_LOGIN = """
import wandb
try:
    print("yes" if wandb.login(prompt=False) else "no login")
except Exception as error:
    print(str(error).partition("\\n")[0])
"""


class Check(NamedTuple):
    """One line of the report: the state of one subject."""

    state: State
    subject: str
    text: str


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
    yield Check("ok", "CPU", f"{machine()}, threads of torch: {torch.get_num_threads()}")
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
    """Is there free space in a folder, and can salvit write there?

    Args:
        subject: what the folder is for.
        folder: the folder, which need not exist yet.
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
