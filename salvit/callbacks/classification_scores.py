"""The scores of a classifier and of where it looks, in one table."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from datamodules.base import SaliencyDataModule, track
from salvit import results
from salvit.callbacks.detected_masks import DetectedMasks
from salvit.callbacks.wandb_panels import log_scores
from salvit.extractors import parse_method, spell
from salvit.extractors.spelling import Spelling
from salvit.metrics.functional import box_masks, smm
from salvit.metrics.functional.heatmaps import constant_heatmaps
from salvit.modules.classification import Batch, ClassificationModule
from salvit.results import Table
from salvit.vit import normalize

SCORES = ("train accuracy", "accuracy", "recall", "precision", "F1", "ROC AUC", "SMM")
"""In the order of the poster's table; recall, precision, F1 and ROC AUC are means over the classes (macro)."""


class ClassificationScores(Callback):
    """Scores a `ClassificationModule` in `test`, and prints and writes the scores.

    Accuracy on the training images (as the datamodule gives them for training) and on the test images; recall,
    precision, F1 and ROC AUC as means over the classes; and SMM of a method's heatmaps for each image's label, over all
    images with a mask, also misclassified ones: a model at chance classifies few correctly. Masks are a detector's, or
    else the dataset's, or else the boxes of the label; the title says which, how many images have none, and how many
    heatmaps are constant, for example because attention is uniform or has no gradient.

    Written to the log folder: `scores.md`; `per_image.csv`, with label, prediction, SMM and whether the heatmap is
    constant; and `scores.json`, with dataset, split, kind of mask and scores. On W&B, `test/scores` has the same row.

    Source: Agrawal, Dayton and Dauber, "Visualizing Attention in Vision Transformers" (poster).

    Args:
        method: the method whose heatmaps SMM scores.
        detector: source of the masks, instead of the dataset.
    """

    def __init__(
        self, method: Spelling = "attention_gradient", detector: DetectedMasks | None = None
    ) -> None:
        self.method = parse_method(method)
        self.detector = detector
        self.logits: list[Tensor] = []
        self.images: list[pd.DataFrame] = []
        self.kind = ""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew; an error here says what the model or the detector lacks."""
        assert isinstance(pl_module, ClassificationModule)
        self.method.check(pl_module.vit)
        if self.detector is not None:
            self.detector.prepare(_datamodule(trainer))
        self.logits, self.images = [], []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Score a batch."""
        assert isinstance(pl_module, ClassificationModule)
        self.kind, masks = self._masks(_datamodule(trainer), batch)
        if outputs is None:  # a process may have got no images
            return
        self.logits.append(outputs.float().cpu())
        inputs = normalize(pl_module.vit, batch["image"])
        heatmaps = self.method(pl_module.vit, inputs, batch["label"]).mean(1).cpu()
        fields = {
            "index": batch["index"].tolist(),
            "image": batch["name"],
            "label": batch["label"].tolist(),
            "predicted": outputs.argmax(1).tolist(),
            "SMM": smm(heatmaps, masks).tolist(),
            "constant": constant_heatmaps(heatmaps).tolist(),
        }
        self.images.append(pd.DataFrame(fields))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; log, print and write them."""
        assert isinstance(pl_module, ClassificationModule)
        data = _datamodule(trainer)
        images = pd.concat(results.gathered(self.images))
        found = classified(torch.cat(results.gathered(self.logits)), torch.tensor(images["label"].to_numpy()))
        found |= {"train accuracy": _train_accuracy(pl_module, data), "SMM": float(images["SMM"].mean())}
        scores = {name: found[name] for name in SCORES}
        pl_module.log_dict(
            {f"test/{name}": value for name, value in scores.items() if name != "accuracy"},
            rank_zero_only=True,
        )
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero:
            return
        facts = results.facts(data, "test", [True] * len(images))
        without, constant = int(images["SMM"].isna().sum()), int(images["constant"].sum())
        title = f"{results.describe(facts)}; SMM of {spell(self.method)}, {self.kind}"
        title += f", {without} images without" if 0 < without < len(images) else ""
        title += f", {constant} heatmaps constant (SMM 0)" if constant and without < len(images) else ""
        about = {
            **facts,
            "method": spell(self.method),
            "masks": self.kind,
            "without_mask": without,
            "constant": constant,
            "scores": {name: None if math.isnan(value) else value for name, value in scores.items()},
            "tables": [],
        }
        names = {name: name if name != "SMM" else f"SMM, {self.kind}" for name in SCORES}
        means = pd.DataFrame({names[name]: {pl_module.model_name: value} for name, value in scores.items()})
        table = Table(title, dict.fromkeys(names.values(), "↑"), means)
        files = {
            "scores.md": f"{title}\n\n{table.markdown()}\n",
            "per_image.csv": images.sort_values("index").drop(columns="index"),
            "scores.json": about,  # the last: where it is, all is
        }
        console = Console()
        console.print(*table.terminal(console.width), sep="\n")
        if folder is not None:
            results.write(folder, files)
        log_scores(trainer, pl_module, "test/scores", table.columns, means)

    def _masks(self, data: SaliencyDataModule, batch: Batch) -> tuple[str, list[Tensor | None]]:
        if self.detector is not None:
            return "detected masks", list(self.detector(data, batch))
        return dataset_masks(batch)


def classified(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, and the means over the classes of recall, precision, F1 and ROC AUC (a class against the rest).

    Args:
        logits: float [n, classes].
        labels: int64 [n].

    Example:
        >>> scores = classified(torch.tensor([[2.0, 1.0], [3.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
        >>> {name: round(score, 3) for name, score in scores.items()}
        {'accuracy': 0.667, 'recall': 0.75, 'precision': 0.75, 'F1': 0.667, 'ROC AUC': 0.5}
    """
    classes = logits.shape[1]
    scores = {
        "accuracy": multiclass_accuracy(logits, labels, classes, average="micro"),
        "recall": multiclass_recall(logits, labels, classes, average="macro"),
        "precision": multiclass_precision(logits, labels, classes, average="macro"),
        "F1": multiclass_f1_score(logits, labels, classes, average="macro"),
        "ROC AUC": multiclass_auroc(logits, labels, classes, average="macro"),
    }
    return {name: float(score) for name, score in scores.items()}


def dataset_masks(batch: Mapping[str, Any]) -> tuple[str, list[Tensor | None]]:
    """Return what the masks of a batch are, and one [H, W] for each image, None for an image without one.

    A batch without masks gets the pixels inside the boxes of each image's label.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 2.0, 1.0]])
        >>> batch = {"image": torch.zeros(1, 3, 1, 2), "label": [5], "boxes": [boxes]}
        >>> dataset_masks({**batch, "box_labels": [torch.tensor([5, 3])]})
        ('masks from boxes', [tensor([[ True, False]])])
    """
    if "mask" in batch:
        return "exact masks", [None if mask is None else mask.cpu() for mask in batch["mask"]]
    if "boxes" in batch:
        objects = zip(batch["boxes"], batch["box_labels"], batch["label"], strict=True)
        boxes = [boxes[labels == int(label)] for boxes, labels, label in objects]
        height, width = batch["image"].shape[2:]
        return "masks from boxes", list(box_masks(boxes, (height, width)))
    return "no masks", [None] * len(batch["image"])


def _train_accuracy(module: ClassificationModule, data: SaliencyDataModule) -> float:
    """Accuracy on all training images, NaN if there are none; every process scores all of them."""
    if "train" not in data.splits:
        return math.nan
    right, total = 0, 0
    with torch.no_grad():
        loader = data.train_dataloader()
        for batch in track(loader, "scoring training images", len(loader)):
            predicted = module(batch["image"].to(module.device)).argmax(1).cpu()
            right += int((predicted == batch["label"]).sum())
            total += len(predicted)
    return right / total


def _datamodule(trainer: Trainer) -> SaliencyDataModule:
    data: SaliencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data
