"""What a command line asks for: checked first, then predicted by Lightning, then shown."""

import argparse
import hashlib
import json
import logging
import re
import shlex
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path

import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch.utils.data import DataLoader

from datamodules.base import CorruptFileError
from salvit import __version__
from salvit.cli.quiet import quieten
from salvit.errors import InvalidValueError, UnavailableError
from salvit.explain.data import Batches, Step, file_hash, make_steps, read_photo
from salvit.explain.inputs import Input, find_inputs
from salvit.explain.methods import choose_methods, named_methods
from salvit.explain.module import ExplainModule
from salvit.explain.parser import DEFAULT_MODEL
from salvit.explain.results import MAPS, Results, Row, opened, printable
from salvit.explain.writer import ExplanationWriter, shown_class
from salvit.extractors.choice import left_out
from salvit.results.machine import device_name, machine, versions
from salvit.results.source import package_hash
from salvit.vit import ViT, describe_vit, in_channels, input_size, load_vit, patch_grid
from salvit.vit.classes import classes_of

_SHOWN = 30
"""Images in the table of the terminal, at most."""


class Run:
    """A command line that was checked; nothing is computed yet.

    Args:
        options: of `salvit.explain.parser.parse`.
        closing: keeps other commands out of the output folder until it is closed.

    Attributes:
        failures: why some images cannot be explained, each beginning with the path.

    Raises:
        ValueError: if an option does not fit the model, the others, or what is in the output folder.
        IndexError: if a method names a block that the model has not.
        OSError: if a file is missing, or the output folder cannot be made or written to.
        RuntimeError: if there is no such device, or no weights, or another command writes to the output folder.
    """

    def __init__(self, options: argparse.Namespace, closing: ExitStack) -> None:
        self.options = options
        named = named_methods(options.method, options.without)
        inputs, self.failures = find_inputs(options.images)
        device = _device(options.device)
        vit = _load(options).to(device)
        size = options.image_size or input_size(vit)
        patch_grid(vit, size)
        classes = classes_of(vit)
        targets = list(dict.fromkeys(classes.find(text) for text in options.target))
        methods, self.refused = choose_methods(named, vit, size, not options.method)
        if targets and not any(method.class_specific for method in methods.values()):
            raise InvalidValueError(f"--target has no effect on {', '.join(methods)}: leave it out")
        self.steps = make_steps(vit, methods, targets)
        weights = f" with the weights {options.weights}" if options.weights else ""
        model = f"{printable(options.model + weights)}, input {size[0]}×{size[1]}"
        self.title = f"{model}: {', '.join(methods)}"
        self.module = ExplainModule(vit, size, classes, targets)
        closing.enter_context(opened(options.out))
        self.results = Results(options.out)
        about = describe_vit(vit)
        settings = hashlib.sha256(
            json.dumps([__version__, package_hash(), size, about], sort_keys=True).encode()
        )
        common = {"model": model, "settings": settings.hexdigest()}
        _require_same_settings(self.results, common, self.steps)
        self.inputs = _named_as_before(inputs, self.results)
        self.writer = ExplanationWriter(self.results, self.steps, common)
        self.results.write_record(
            {
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
        )

    def rows(self) -> list[Row]:
        """The rows of the maps asked for that are there, image by image."""
        return [row for name, _ in self.inputs for row in self.writer.rows(name)]

    def explain(self) -> None:
        """Compute and write the maps that are missing, and print what there is."""
        missing = {one: self.writer.missing(one.name) for one in self.inputs}
        total = sum(map(len, missing.values()))
        batches = Batches(missing, self.module.size, self.options.batch_size)
        console = Console(
            stderr=True, quiet=self.options.quiet, highlight=False, markup=False, soft_wrap=True
        )
        for line in self._remarks(total):
            console.print(line)
        try:
            with self.writer.bar(console, total):
                if total:
                    self._predict(batches)
                self.failures += batches.failures
                for one in self.inputs:  # whose maps were all there
                    if not self.writer.missing(one.name) and not self.writer.has_grid(one.name):
                        self.writer.write_grid(read_photo(one, self.module.size))
        finally:
            self.results.write_table()
        if not (rows := self.rows()):
            raise CorruptFileError("\n".join(["none of the images can be explained:", *self.failures]))
        Console().print(_summary(rows, self.title))
        print(f"maps and pictures are in {self.options.out}; explain.csv lists them")

    def _remarks(self, missing: int) -> list[str]:
        options, there = self.options, len(self.rows())
        lines = left_out(
            self.refused, len(dict.fromkeys(step.method for step in self.steps)) + len(self.refused)
        )
        if options.model == DEFAULT_MODEL and not options.weights:
            command = shlex.join([*options.command, "--model", "vit_base_patch16_224"])
            lines.append(
                f"{DEFAULT_MODEL} knows ten shapes in generated displays; what it says of an ordinary picture means "
                f"nothing. Take a real model for that: {printable(command)}"
            )
        if there:
            lines.append(f"{there} of {there + missing} maps are in {options.out} already")
        slow = {step.method: step.passes for step in self.steps if missing and step.passes > 1}
        return lines + [
            f"{name} takes {passes} forward passes per image and class" for name, passes in slow.items()
        ]

    def _predict(self, batches: Batches) -> None:
        device = next(self.module.parameters()).device
        log = logging.getLogger("lightning.pytorch")
        level = log.level
        with warnings.catch_warnings():
            quieten()
            # Images are read in this process: one is read in no time beside what is computed of it.
            warnings.filterwarnings("ignore", ".*does not have many workers")
            log.setLevel(logging.WARNING)  # without which devices there are
            try:
                trainer = Trainer(
                    accelerator="gpu" if device.type == "cuda" else "cpu",
                    devices=[device.index or 0] if device.type == "cuda" else 1,
                    plugins=LightningEnvironment(),  # one process, also where a cluster has started several
                    callbacks=[self.writer],
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                )
                trainer.predict(self.module, DataLoader(batches, batch_size=None), return_predictions=False)
            except SystemExit:  # which Lightning makes of Ctrl-C
                raise KeyboardInterrupt from None
            finally:
                log.setLevel(level)


def _load(options: argparse.Namespace) -> ViT:
    try:
        vit = load_vit(options.model, weights=options.weights, img_size=options.image_size)
    except ValueError as error:
        if options.weights is None or options.model != DEFAULT_MODEL:
            raise
        raise InvalidValueError(
            f"{error} (the model is {DEFAULT_MODEL} unless --model names another)"
        ) from error
    if in_channels(vit) != 3:
        raise InvalidValueError(
            f"{printable(options.model)} takes images of {in_channels(vit)} channels, not RGB"
        )
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


def _require_same_settings(results: Results, common: Row, steps: Sequence[Step]) -> None:
    """Raise if maps of the folder were made by another model, at another size or by other code."""
    code = {step.method: step.code for step in steps}
    for row in results.rows.values():
        what = ""
        if row["settings"] != common["settings"]:
            what = f"by another model, other weights, another input size or another version of salvit ({row['model']})"
        elif row["code"] != code.get(row["method"], row["code"]):
            what = f"of {row['method']} as it was before its code changed"
        if what:
            raise InvalidValueError(
                f"{results.folder} has maps {what}: take another --out, or delete that folder"
            )


def _named_as_before(inputs: Sequence[Input], results: Results) -> list[Input]:
    """Keep the names that images had, which depend on what others there were; raise if another image has one."""
    known = {(row["image"], row["image_sha256"]): row["name"] for row in results.rows.values()}
    of_name = {row["name"]: row for row in results.rows.values()}
    named: dict[str, Path] = {}
    for name, path in inputs:
        content = ""
        with suppress(OSError):  # said when it is read
            content = file_hash(path) if known else ""
        name = known.get((str(path), content), name)
        other = of_name.get(name)
        if content and other and other["image_sha256"] != content:
            raise InvalidValueError(
                f"{results.folder} has maps of another image than {path} by the name {name} (of {other['image']}, or "
                f"as it was before it changed): take another --out, or delete {results.folder / MAPS / name}"
            )
        if name in named:
            raise InvalidValueError(
                f"the images {named[name]} and {path} would both be named {name}: rename one"
            )
        named[name] = path
    return [Input(name, path) for name, path in named.items()]


def _summary(rows: Sequence[Row], title: str) -> Table:
    """What the model says of each image, what was explained, and its grid."""
    images = [list(group) for _, group in groupby(rows, key=lambda row: row["name"])]
    table = Table(title=escape(title), title_justify="left")
    for column in ("image", "predicted", "explained", "files"):
        table.add_column(column, overflow="fold")
    for group in images[:_SHOWN]:
        explained = dict.fromkeys(shown_class(row, "target", "target_probability") for row in group)
        cells = (
            group[0]["image"],
            shown_class(group[0], "predicted", "probability") or "–",
            "\n".join(filter(None, explained)) or "–",
            f"grids/{group[0]['name']}.png, {len(group)} map{'s' * (len(group) > 1)}",
        )
        table.add_row(*map(escape, cells))
    if len(images) > _SHOWN:
        table.add_row(f"… and {len(images) - _SHOWN} more in explain.csv", "", "", "")
    return table
