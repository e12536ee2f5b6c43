"""One run of `salvit explain`: everything is checked first, then predicted by Lightning, then shown."""

import argparse
import hashlib
import json
import logging
import re
import shlex
from collections.abc import Sequence

import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from datamodules.base import CorruptFileError, Stimulus, printable
from salvit import __version__
from salvit.callbacks.run_labels import RunLabels
from salvit.cli.quiet import is_quiet, quieten
from salvit.errors import InvalidValueError, UnavailableError
from salvit.explain.attention import KeptAttention
from salvit.explain.command import DEFAULT_MODEL
from salvit.explain.data import MAPS, RECORD, MissingMaps, Photo, Step, find_images
from salvit.explain.methods import named_methods
from salvit.explain.writer import ExplanationWriter, Row, make_folder, shown_class, write_table
from salvit.extractors import Extractor
from salvit.extractors.choice import left_out, supported_methods
from salvit.modules.explanation import Batch, ExplanationModule
from salvit.modules.naming import backbone_name
from salvit.results.files import file_hash, write
from salvit.results.machine import device_name, machine, versions
from salvit.results.source import code_of, package_hash
from salvit.vit import ViT, describe_vit, in_channels, input_size, load_vit, patch_grid
from salvit.vit.classes import classes_of

_SHOWN = 30
"""Images in the table of the terminal, at most."""


class ExplainModule(ExplanationModule):
    """An `ExplanationModule` only to predict, of a model that is loaded and methods that it supports."""

    def __init__(self, vit: ViT, methods: dict[str, Extractor]) -> None:
        LightningModule.__init__(self)  # not the parent's, which would load a model by its name
        self.vit = vit
        self.methods = methods
        self._probabilities = {}

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """The maps of a batch; UnavailableError if the device has not enough memory."""
        try:
            return super().predict_step(batch, batch_idx)
        except torch.OutOfMemoryError as error:
            raise UnavailableError(
                f"{batch['method']} needs more memory than the device has for {len(batch['name'])} images at a time: "
                "lower --batch-size, or take --device cpu"
            ) from error


class Run:
    """A command line that was checked; nothing is computed yet.

    Args:
        options: of `salvit.explain.command.parse`.

    Raises:
        ValueError: if an option does not fit the model, the others, or what is in the output folder.
        IndexError: if a method names a block that the model does not have.
        OSError: if a file is missing, or the output folder cannot be made.
        RuntimeError: if there is no such device, or no weights.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        named = named_methods(options.method, options.without)
        self.images = find_images(options.images)
        device = _device(options.device)
        vit = _load(options).to(device)
        size = options.image_size or input_size(vit)
        patch_grid(vit, size)
        classes = classes_of(vit)
        targets = list(dict.fromkeys(classes.find(text) for text in options.target))
        methods, self.refused = supported_methods(vit, named.values(), size)
        if not methods:
            others = "; it is the default method, and the model supports others: "
            others = "" if options.method else others + ", ".join(supported_methods(vit, size=size)[0])
            raise InvalidValueError(
                "\n".join(f"{name}: {reason}{others}" for name, reason in self.refused.items())
            )
        if targets and not any(method.class_specific for method in methods.values()):
            raise InvalidValueError(f"--target has no effect on {', '.join(methods)}: leave it out")
        self.steps = [
            Step(name, target, extractor.forward_passes(vit), code_of(extractor))
            for name, extractor in methods.items()
            for target in (targets if targets and extractor.class_specific else [None])
        ]
        weights = f" with the weights {options.weights}" if options.weights else ""
        model = f"{printable(options.model + weights)}, input {size[0]}×{size[1]}"
        self.title = f"{model}: {', '.join(methods)}"
        self.module = ExplainModule(vit, methods)
        self.size = size
        make_folder(options.out)
        about = describe_vit(vit)
        made_by = json.dumps([__version__, package_hash(), size, about], sort_keys=True).encode()
        common = {"model": model, "settings": hashlib.sha256(made_by).hexdigest()}
        self.writer = ExplanationWriter(options.out, self.steps, common, classes)
        _require_same(self.writer, self.images)
        self.record = {
            "command": printable(shlex.join(options.command)),
            "model": model,
            "weights_sha256": about["weights_sha256"],
            "input_size": list(size),
            "methods": {name: repr(method) for name, method in methods.items()},
            "left_out": self.refused,
            "machine": machine(),
            "device": device_name(device),
            "versions": versions(),
        }
        write(options.out, {RECORD: self.record})

    def rows(self) -> list[list[Row]]:
        """By image, the rows of the maps that this command asks for and that are there."""
        return [rows for image in self.images if (rows := self.writer.rows(image.name))]

    def explain(self) -> None:
        """Compute and write the missing maps, and print what there is.

        Raises:
            CorruptFileError: at the end, if some images could not be read.
        """
        missing = {one.name: self.writer.missing(one.name) for one in self.images}
        total = sum(map(len, missing.values()))
        data = MissingMaps(self.images, missing, self.size, self.options.batch_size)
        console = Console(stderr=True, quiet=is_quiet(), highlight=False, markup=False, soft_wrap=True)
        for line in self._remarks(total):
            console.print(line)
        try:
            with self.writer.bar(console, total):
                if total:
                    self._predict(data)
                for one in self.images:  # a grid is also missing where all maps were there before
                    if not self.writer.missing(one.name) and not self.writer.has_grid(one.name):
                        self.writer.write_grid(Photo.read(one, self.size))
        finally:
            write_table(self.options.out)
        if not (rows := self.rows()):
            raise CorruptFileError("\n".join(["none of the images can be explained:", *data.failures]))
        if self.options.wandb:
            from salvit.explain.dashboard import log_explanations  # W&B takes a second to import

            labels = RunLabels(
                backbone_name(self.options.model, self.options.weights), "images", self.module.methods
            )
            log_explanations(self.options.wandb, self.options.out, labels, self.record, rows)
        Console().print(_summary(rows, self.title))
        print(f"maps and pictures are in {self.options.out}; explain.csv lists them")
        if failed := len(data.failures):
            message = f"{failed} of {len(self.images)} images cannot be explained, the others are done:"
            raise CorruptFileError("\n  ".join([message, *data.failures]))

    def _remarks(self, missing: int) -> list[str]:
        options, there = self.options, sum(map(len, self.rows()))
        methods = {step.method for step in self.steps}
        lines = left_out(self.refused, len(methods) + len(self.refused))
        if options.model == DEFAULT_MODEL and not options.weights:
            command = shlex.join([*options.command, "--model", "vit_base_patch16_224"])
            lines.append(
                f"{DEFAULT_MODEL} knows ten shapes in generated displays; what it says of an ordinary picture means "
                f"nothing. Take a real model for that: {printable(command)}"
            )
        if there:
            lines.append(f"{there} of {there + missing} maps are in {options.out} already")
        slow = {step.method: step.passes for step in self.steps if missing and step.passes > 1}
        return [*lines, *(f"{name} takes {n} forward passes per image and class" for name, n in slow.items())]

    def _predict(self, data: MissingMaps) -> None:
        device = next(self.module.parameters()).device
        quieten()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no line about devices
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            plugins=LightningEnvironment(),  # one process, also where a cluster has started several
            callbacks=[self.writer, KeptAttention(self.options.out)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.predict(self.module, datamodule=data, return_predictions=False)


def _load(options: argparse.Namespace) -> ViT:
    try:
        vit = load_vit(options.model, weights=options.weights, img_size=options.image_size)
    except ValueError as error:
        if options.weights is None or options.model != DEFAULT_MODEL:
            raise
        model = f"(the model is {DEFAULT_MODEL} unless --model names another)"
        raise InvalidValueError(f"{error} {model}") from error
    if (channels := in_channels(vit)) != 3:
        raise InvalidValueError(f"{printable(options.model)} takes images of {channels} channels, not RGB")
    return vit


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InvalidValueError(f'no device "{name}": take auto, cpu, cuda or cuda:N')
    device, gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UnavailableError(f'no device "{name}": torch finds {gpus} GPUs; take --device cpu or auto')
    return device


def _require_same(writer: ExplanationWriter, images: Sequence[Stimulus]) -> None:
    """Raise if the folder has maps by another model or other code, or of another image by the same name."""
    code = {step.method: step.code for step in writer.steps}
    for row in writer.known.values():
        what = ""
        if row["settings"] != writer.settings["settings"]:
            what = f"by another model, other weights, another input size or another version of salvit ({row['model']})"
        elif row["code"] != code.get(row["method"], row["code"]):
            what = f"of {row['method']} as it was before its code changed"
        if what:
            raise InvalidValueError(
                f"{writer.folder} has maps {what}: take another --out, or delete that folder"
            )
    known = {row["name"]: row for row in writer.known.values()}
    for image in images:
        row = known.get(image.name, {})
        if row and image.image.is_file() and file_hash(image.image) != row["image_sha256"]:
            raise InvalidValueError(
                f"{writer.folder} has maps of another image than {image.image} by the name {image.name} (of "
                f"{row['image']}, or as it was before it changed): take another --out, or delete "
                f"{writer.folder / MAPS / image.name}"
            )


def _summary(images: Sequence[Sequence[Row]], title: str) -> Table:
    """What the model says of each image, what was explained, and its grid."""
    table = Table(title=escape(title), title_justify="left")
    for column in ("image", "predicted", "explained", "files"):
        table.add_column(column, overflow="fold")
    for rows in images[:_SHOWN]:
        explained = dict.fromkeys(shown_class(row, "target", "target_probability") for row in rows)
        cells = (
            rows[0]["image"],
            shown_class(rows[0], "predicted", "probability") or "–",
            "\n".join(filter(None, explained)) or "–",
            f"grids/{rows[0]['name']}.png, {len(rows)} map{'s' * (len(rows) > 1)}",
        )
        table.add_row(*map(escape, cells))
    if len(images) > _SHOWN:
        table.add_row(f"… and {len(images) - _SHOWN} more in explain.csv", "", "", "")
    return table
