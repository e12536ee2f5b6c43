"""Pictures of heatmaps: methods side by side, and classes below each other where an image has several."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image, ImageDraw
from torch import Tensor

from salvit.callbacks.wandb_panels import log_pictures, wandb_loggers
from salvit.metrics.functional.heatmaps import upsampled
from salvit.modules.explanation import Batch, ExplanationModule
from salvit.report.grid import Cell, grid, thumbnail
from salvit.report.pictures import overlay, photo, robust
from salvit.results.files import write
from salvit.vit import normalize
from salvit.vit.classes import Classes, classes_of

_SIDE = 224


class ExplanationPictures(Callback):
    """Draws overlays of the first images of a test.

    `pictures/methods.png` has each image with its boxes and every method, as in Figure 5 of "Attention Guided CAM";
    `pictures/classes.png`, of images with boxes of several classes, a row per class and a column per method that
    explains a class, as in its Figure 6. Written to the log folder, and to W&B. In W&B the table `test/heatmaps` has a
    row per image and a column per method.

    Args:
        count: images in each picture.
        columns: pictures in a row.
    """

    def __init__(self, count: int = 4, columns: int = 10) -> None:
        self.count = count
        self.columns = columns
        self._methods: list[list[Cell]] = []  # one list per image
        self._classes: list[list[Cell]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._methods, self._classes = [], []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Draw the first images, and the first ones with several classes."""
        assert isinstance(pl_module, ExplanationModule)
        if not trainer.is_global_zero:
            return
        names = _classes(pl_module, trainer)
        for index in range(min(len(batch["name"]), self.count - len(self._methods))):
            self._methods.append(self._methods_row(pl_module, batch, index, names))
        images = len({row[0].title for row in self._classes})
        for index in several_classes(batch)[: self.count - images]:
            self._classes += self._class_rows(pl_module, batch, index, names)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the pictures."""
        folder = trainer.log_dir  # asked on every process: it is broadcast
        for name, rows in (("methods", self._methods), ("classes", self._classes)):
            if not trainer.is_global_zero or not rows:
                continue
            picture = grid([part for row in rows for part in self._wrapped(row)])
            if folder is not None:
                write(folder, {f"pictures/{name}.png": picture})
            for logger in wandb_loggers(trainer):
                logger.log_image(f"test/{name}", [picture])
        if self._methods:
            methods = [cell.title for cell in self._methods[0][1:]]
            table = [[row[0].title, row[0].note, *(cell.picture for cell in row)] for row in self._methods]
            log_pictures(wandb_loggers(trainer), "test/heatmaps", ["name", "class", "image", *methods], table)

    def _wrapped(self, cells: list[Cell]) -> list[list[Cell]]:
        return [cells[start : start + self.columns] for start in range(0, len(cells), self.columns)]

    def _methods_row(self, module: ExplanationModule, batch: Batch, index: int, names: Classes) -> list[Cell]:
        image = batch["image"][index]
        label = {"label": batch["label"][index][None]} if "label" in batch else {}
        target, correct = module.classes(label, normalize(module.vit, image[None]))
        said = "" if target is None else names.describe(int(target))
        note = said if bool(correct) else f"{said}, misclassified"
        boxes = batch["boxes"][index] if "boxes" in batch else torch.empty(0, 4)
        first = Cell(framed(image, boxes), batch["name"][index], note)
        return [first, *_overlays(module, list(module.methods), image, target)]

    def _class_rows(
        self, module: ExplanationModule, batch: Batch, index: int, names: Classes
    ) -> list[list[Cell]]:
        image, boxes, labels = (batch[key][index] for key in ("image", "boxes", "box_labels"))
        methods = [name for name, extractor in module.methods.items() if extractor.class_specific]
        rows = []
        for label in labels.unique().tolist():
            first = Cell(framed(image, boxes[labels == label]), batch["name"][index], names.describe(label))
            target = torch.tensor([label], device=image.device)
            rows.append([first, *_overlays(module, methods, image, target)])
        return rows


def _overlays(
    module: ExplanationModule, methods: list[str], image: Tensor, target: Tensor | None
) -> list[Cell]:
    inputs = normalize(module.vit, image[None])
    heatmaps = {method: module.heatmaps(method, inputs, target)[0] for method in methods}
    return [Cell(overlaid(image, heatmap), method, "") for method, heatmap in heatmaps.items()]


def several_classes(batch: Batch) -> list[int]:
    """Positions of the images with boxes of several classes.

    Args:
        batch: with `box_labels`, or none of them has.

    Example:
        >>> several_classes({"box_labels": [torch.tensor([3, 3]), torch.tensor([3, 5])]})
        [1]
    """
    return [index for index, labels in enumerate(batch.get("box_labels", [])) if len(labels.unique()) > 1]


def framed(image: Tensor, boxes: Tensor) -> Image.Image:
    """The image [3, H, W] in [0, 1] with boxes [n, 4] in its pixels drawn in."""
    scale = _SIDE / image.shape[-1]
    picture = photo(image).resize((_SIDE, round(image.shape[-2] * scale)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in (boxes.cpu() * scale).tolist():
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=(255, 40, 40), width=2)
    return thumbnail(picture)


def overlaid(image: Tensor, heatmap: Tensor) -> Image.Image:
    """The image [3, H, W] in [0, 1] under its heatmap [h, w]; of a signed heatmap the positive part is shown."""
    size = (round(image.shape[-2] * _SIDE / image.shape[-1]), _SIDE)
    shown = heatmap.float().cpu()
    positive = shown.clamp(min=0) if shown.min() < 0 < shown.max() else shown
    return thumbnail(overlay(image.cpu(), upsampled(robust(positive)[None], size)[0]))


def _classes(module: ExplanationModule, trainer: Trainer) -> Classes:
    """The classes by the model's names for them, or else by the dataset's."""
    known = classes_of(module.vit)
    names = getattr(trainer.datamodule, "class_names", None)  # type: ignore[attr-defined]
    return known if known.labels or names is None else Classes(len(names), list(names))
