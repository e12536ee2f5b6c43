"""What is the same for every image: the model, the methods and the classes, checked before anything is computed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

from datamodules.base import Size
from salvit.explain.classes import Classes, classes_of
from salvit.explain.folder import MAPS
from salvit.explain.methods import choose_methods, file_label
from salvit.explain.names import printable
from salvit.explain.parser import DEFAULT_MODEL, Options
from salvit.extractors import Extractor
from salvit.vit import ViT, in_channels, input_size, load_vit, patch_grid


class Step(NamedTuple):
    """A map that every image gets.

    Attributes:
        method: its label.
        position: of the class it explains among the classes to explain, or None if it explains none.
    """

    method: str
    position: int | None


@dataclass(frozen=True)
class Task:
    """What to do with each image.

    Attributes:
        model: what the model is called, in messages.
        vit: the model, on its device.
        device: that device.
        size: (height, width) of its input.
        classes: its classes.
        methods: extractors by label.
        left_out: why "all" has left out the other methods.
        targets: classes to explain; empty for each image's predicted class.
    """

    model: str
    vit: ViT
    device: torch.device
    size: Size
    classes: Classes
    methods: Mapping[str, Extractor]
    left_out: Mapping[str, str]
    targets: tuple[int, ...]

    @property
    def steps(self) -> list[Step]:
        """The maps of an image, method by method."""
        positions = range(max(1, len(self.targets)))
        return [
            Step(method, position)
            for method, extractor in self.methods.items()
            for position in (positions if extractor.class_specific else [None])
        ]

    def stem(self, name: str, step: Step) -> str:
        """Where a map of the image of a name is, relative to the output folder and without suffix.

        The class is named if it was typed: the predicted one differs from image to image.
        """
        suffix = f"_{self.targets[step.position]}" if self.targets and step.position is not None else ""
        return f"{MAPS}/{name}/{file_label(step.method)}{suffix}"


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
    vit = _load(options).to(device)
    if in_channels(vit) != 3:
        raise ValueError(f"{printable(options.model)} takes images of {in_channels(vit)} channels, not RGB")
    size = options.image_size or input_size(vit)
    patch_grid(vit, size)
    classes = classes_of(vit)
    targets = tuple(dict.fromkeys(classes.find(text) for text in options.targets))
    methods, left_out = choose_methods(options.methods, vit, size, options.without)
    if targets and not any(method.class_specific for method in methods.values()):
        explain = "explains" if len(methods) == 1 else "explain"
        raise ValueError(
            f"--target has no effect on {', '.join(methods)}, which {explain} no class: leave it out"
        )
    model = options.model + (f" with the weights {options.weights}" if options.weights else "")
    return Task(printable(model), vit, device, size, classes, methods, left_out, targets)


def _load(options: Options) -> ViT:
    try:
        return load_vit(options.model, weights=options.weights, img_size=options.image_size)
    except ValueError as error:
        if options.weights is None or options.model != DEFAULT_MODEL:
            raise
        raise ValueError(f"{error} (the model is {DEFAULT_MODEL} unless --model names another)") from error


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
