"""The versions, processor and device that something was computed with."""

import os
import platform
from importlib.metadata import version

import torch

from salvit import __version__

_PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics")


def versions() -> dict[str, str]:
    """Versions of Python, salvit and the packages that scores depend on."""
    return {
        "python": platform.python_version(),
        "salvit": __version__,
        **{name: version(name) for name in _PACKAGES},
    }


def machine() -> str:
    """Architecture and number of usable cores, without the machine's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cores} CPU cores"


def device_name(device: torch.device, count: int = 1) -> str:
    """The device of `count` processes, such as "CPU" or "2 × NVIDIA A100".

    Example:
        >>> device_name(torch.device("cpu"))
        'CPU'
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return name if count == 1 else f"{count} × {name}"
