"""What is the same for every image: the model, the methods and the classes, checked before anything is computed."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from datamodules.dataset import Size
from salvit.callbacks.provenance import device_name, machine, versions
from salvit.explain.classes import Classes, classes_of
from salvit.explain.methods import choose_methods
from salvit.explain.parser import Options
from salvit.extractors import Extractor
from salvit.files import atomic_write
from salvit.vit import ViT, input_size, load_vit, patch_grid, weights_hash


@dataclass(frozen=True)
class Task:
    """What to do with each image.

    Attributes:
        vit: the model, on its device.
        device: that device.
        size: (height, width) of its input.
        classes: its classes.
        methods: extractors by name.
        left_out: why "all" has left out the other methods.
        targets: classes to explain; empty for each image's predicted class.
    """

    vit: ViT
    device: torch.device
    size: Size
    classes: Classes
    methods: Mapping[str, Extractor]
    left_out: Mapping[str, str]
    targets: tuple[int, ...]

    @property
    def maps_per_image(self) -> int:
        """Number of maps of an image."""
        per_class = max(1, len(self.targets))
        return sum(per_class if method.class_specific else 1 for method in self.methods.values())


def make_task(options: Options) -> Task:
    """Load the model, and find what was named.

    Args:
        options: the command line.

    Raises:
        ValueError: if an option does not fit the model or the others.
        FileNotFoundError: if a weights file is missing.
        RuntimeError: if there is no such device, or no weights.
    """
    device = _device(options.device)
    vit = load_vit(options.model, weights=options.weights, img_size=options.image_size).to(device)
    size = options.image_size or input_size(vit)
    patch_grid(vit, size)
    classes = classes_of(vit)
    targets = tuple(dict.fromkeys(classes.find(text) for text in options.targets))
    methods, left_out = choose_methods(options.methods, vit)
    if targets and not any(method.class_specific for method in methods.values()):
        raise ValueError(
            f"--target has no effect on {', '.join(methods)}, which explain no class: leave it out"
        )
    return Task(vit, device, size, classes, methods, left_out, targets)


def write_record(path: Path, options: Options, task: Task) -> None:
    """Write `explain.json`: the command and all that its maps depend on.

    Args:
        path: of the file.
        options: the command line.
        task: what came of it.
    """
    record = {
        "command": shlex.join(["salvit", *options.command]),
        "model": options.model,
        "weights_sha256": weights_hash(task.vit),
        "input_size": task.size,
        "methods": {name: repr(method) for name, method in task.methods.items()},
        "left_out": task.left_out,
        "machine": machine(),
        "device": device_name(task.device),
        "versions": versions(),
    }
    with atomic_write(path) as file:
        file.write((json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f'no device "{name}": take auto, cpu, cuda or cuda:N')
    device = torch.device(name)
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise RuntimeError(f'no device "{name}": torch finds {gpus} GPUs; take --device cpu or auto')
    return device
