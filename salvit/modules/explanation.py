"""Score the heatmaps of a frozen ViT: agreement with people, localisation and faithfulness."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from datamodules.base import SaliencyDataModule
from salvit import __version__
from salvit.errors import InvalidValueError
from salvit.extractors import Extractor, parse_method, spell
from salvit.extractors.choice import left_out, supported_methods
from salvit.extractors.spelling import Spelling
from salvit.metrics import Case, ImageMetric, SaliencyMetric, default_scores, looked_at
from salvit.metrics.functional.heatmaps import constant_heatmaps, finite_heatmaps
from salvit.modules.naming import backbone_name
from salvit.results.kept import IMAGES, on_grid, spread, to_text
from salvit.results.source import code_of, package_hash
from salvit.results.store import Record, Store
from salvit.vit import describe_vit, load_vit, normalize, num_classes, patch_grid

Batch = dict[str, Any]


class ExplanationModule(LightningModule):
    """A frozen ViT, methods that explain it, and scores of their heatmaps; there is nothing to train.

    The scores depend on the dataset: agreement with people needs fixations, localisation boxes or masks, faithfulness a
    classifier. Agreement with people leaves out images without fixations, localisation misclassified images, and the
    table counts them. A method with several maps per image is scored by their mean. `ExplanationScores` in
    `salvit.callbacks.explanation_scores` prints and writes the results, `ExplanationPictures` draws them.

    Args:
        vit: a timm name, "salvit_tiny", or a weights file; see `salvit.vit.load_vit`.
        weights: local weights for a timm name.
        pretrained: False for a backbone with random weights.
        extractors: the methods, each as text (`salvit.extractors.parse_method`) or as an extractor; all by default.
            Methods that the model does not support are left out, and a message names them.
        scores: metrics to score by; `salvit.metrics.default_scores` by default.
        target: explain the "label" of an image, if it has one, or always the "predicted" class.
        results: folder of cached results per image, with which an interrupted run goes on where it stopped, and only
            methods that are new are computed; None caches nothing.

    Attributes:
        active_scores: the scores that the dataset allows, once a test has started.
        maps: by method and name of an image, its heatmap as text (`salvit.results.kept`), of some images of the test.

    Raises:
        ValueError: if the model supports no method, or two are the same.

    Example:
        >>> from salvit.extractors import AGCAM
        >>> module = ExplanationModule(extractors=[AGCAM(), "rollout:start_layer=1"])
        >>> list(module.methods)
        ['agcam', 'rollout:start_layer=1']
    """

    def __init__(
        self,
        vit: str = "salvit_tiny",
        weights: str | Path | None = None,
        pretrained: bool = True,
        extractors: list[Extractor | Spelling] | None = None,
        scores: list[ImageMetric] | None = None,
        target: Literal["label", "predicted"] = "label",
        results: str | Path | None = None,
    ) -> None:
        super().__init__()
        if target not in ("label", "predicted"):
            raise InvalidValueError(f'target must be "label" or "predicted"; got {target!r}')
        self.model_name = backbone_name(vit, weights, pretrained)
        self.vit = load_vit(vit, weights=weights, pretrained=pretrained)
        self.methods = self._methods(extractors)
        self.scores = default_scores() if scores is None else scores
        self.target = target
        self.results = None if results is None else Path(results)
        self.metrics: dict[str, list[ImageMetric]] = {}
        self.images: list[dict[str, Any]] = []
        self.counted: list[bool] = []
        self.about: dict[str, list[Record]] = {}
        self.active_scores: list[ImageMetric] = []
        self.maps: dict[str, dict[str, str]] = {}
        self._kept: frozenset[int] = frozenset()
        self._probabilities: dict[str, Tensor] = {}
        self._scorers: dict[str, ImageMetric] = {}
        self._stores: dict[str, Store] = {}
        self._done: dict[str, dict[str, Record]] = {}

    def train(self, mode: bool = True) -> "ExplanationModule":
        """Stay in eval mode."""
        return super().train(False)

    def on_test_start(self) -> None:
        """Choose the scores, make the metrics, and read cached results."""
        data: SaliencyDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        self.active_scores = self.scores_for(data)
        self._scorers = {
            repr(one): deepcopy(one.prepared(data, "test").for_model(self.vit)).to(self.device)
            for one in self.active_scores
        }
        self.metrics = {name: [deepcopy(one) for one in self._scorers.values()] for name in self.methods}
        self.images, self.counted, self.about = [], [], {name: [] for name in self.methods}
        self.maps = {name: {} for name in self.methods}
        self._kept = frozenset(spread(len(data.dataset("test")), IMAGES))
        self._open_results(data)

    def scores_for(self, data: SaliencyDataModule) -> list[ImageMetric]:
        """The scores that a dataset has what it takes for.

        Args:
            data: whose test split is scored.

        Raises:
            ValueError: if there is none, or the model has another number of classes.
        """
        sample = data.dataset("test")[0]
        self._check_classes(data, sample)
        active = [score for score in self.scores if self._can_score(score, sample)]
        if not active:
            asked = ", ".join(sorted({key for score in self.scores for key in score.keys}))
            raise InvalidValueError(
                f"nothing to score: none of the scores can do with a dataset that has {', '.join(sample)} "
                f"(they ask for {asked or 'a classifier'})"
            )
        return active

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score a batch."""
        done = {method: self._done.get(method, {}) for method in self.methods}
        records = {method: [known.get(name) for name in batch["name"]] for method, known in done.items()}
        missing = {method: rows for method, rows in records.items() if any(row is None for row in rows)}
        if missing:
            self._compute(missing, batch)
        for method, rows in records.items():
            self._update(method, [row for row in rows if row is not None])
            known = zip(batch["name"], rows, strict=True)
            self.maps[method] |= {name: row["map"] for name, row in known if row and "map" in row}
        images = zip(batch["index"].tolist(), batch["name"], strict=True)
        self.images += [{"index": index, "image": name} for index, name in images]
        if any(isinstance(score, SaliencyMetric) for score in self.active_scores):
            self.counted += looked_at(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """The heatmaps of a batch by one method. An image is known by its name, and predicted only once.

        Args:
            batch: `image` float32 [B, 3, H, W] in [0, 1] and `name`, of each image; `method`, one of `methods`; and
                `target`, the class to explain, or None for each image's predicted one.
            batch_idx: not used.

        Returns:
            On the CPU: heatmaps float32 [B, h, w]; the explained classes int64 [B], None if the method explains no
            class; and the probabilities of the C classes, float32 [B, C], C = 0 without a classifier.

        Raises:
            ValueError: if the model's output is not finite.
        """
        names, images = batch["name"], normalize(self.vit, batch["image"])
        if any(name not in self._probabilities for name in names):
            output = self.vit(images).float().cpu()
            if not output.isfinite().all():
                raise InvalidValueError(
                    "the model gives NaN or infinity, so nothing can be explained: are its weights whole?"
                )
            known = output.softmax(dim=-1)[:, : num_classes(self.vit)]
            self._probabilities.update(zip(names, known, strict=True))
        probabilities = torch.stack([self._probabilities[name] for name in names])
        target = None
        if self.methods[batch["method"]].class_specific:
            target = probabilities.argmax(dim=-1)
            if batch["target"] is not None:
                target = torch.full_like(target, batch["target"])
        maps = self.heatmaps(batch["method"], images, None if target is None else target.to(images.device))
        return maps.float().cpu(), target, probabilities

    def heatmaps(self, method: str, images: Tensor, target: Tensor | None) -> Tensor:
        """Heatmaps [B, h, w] by a method of `methods`, of images that are normalised for the model."""
        maps: Tensor = self.methods[method](self.vit, images, target)
        return maps.mean(dim=1)

    def classes(self, batch: Batch, images: Tensor) -> tuple[Tensor | None, Tensor]:
        """The classes to explain, int64 [B] or None without a classifier, and whether each image's label is predicted.

        Args:
            batch: the datamodule's.
            images: its images, normalised for the model.
        """
        if num_classes(self.vit) < 1:
            return None, torch.ones(len(images), dtype=torch.bool)
        with torch.no_grad():
            predicted = self.vit(images).argmax(dim=-1)
        if "label" not in batch:
            return predicted, torch.ones(len(images), dtype=torch.bool)
        label = batch["label"].to(predicted.device)
        return label if self.target == "label" else predicted, (label == predicted).cpu()

    def _compute(self, missing: Mapping[str, list[Record | None]], batch: Batch) -> None:
        """Fill in the missing records; all methods share one prediction."""
        rows = sorted({i for records in missing.values() for i, row in enumerate(records) if row is None})
        part = _select(batch, rows)
        images = normalize(self.vit, part["image"])
        target, correct = self.classes(part, images)
        for method, records in missing.items():
            explain = partial(self.heatmaps, method, target=target)
            case = Case(self.vit, images, target, explain(images), explain, part)
            scored = {key: self._rows(score, case, correct) for key, score in self._scorers.items()}
            kinds, maps = _kinds(case.heatmaps), on_grid(case.heatmaps, patch_grid(self.vit, images))
            for position, row in enumerate(rows):
                values = {key: scored[key][position].tolist() for key in scored}
                about = {"correct": bool(correct[position]), "heatmap": kinds[position]}
                if int(part["index"][position]) in self._kept:
                    about["map"] = to_text(maps[position])
                records[row] = {**about, "rows": values}
            if method in self._stores:
                new = [(part["name"][position], records[row]) for position, row in enumerate(rows)]
                self._stores[method].add([(name, record) for name, record in new if record], self.global_rank)

    def _rows(self, score: ImageMetric, case: Case, correct: Tensor) -> Tensor:
        score.reset()
        score.score(case)
        rows = score.rows().cpu()
        return torch.where(correct[:, None], rows, torch.nan) if score.correct_only else rows

    def _update(self, method: str, records: Sequence[Record]) -> None:
        self.about[method] += [{key: record[key] for key in ("correct", "heatmap")} for record in records]
        for key, metric in zip(self._scorers, self.metrics[method], strict=True):
            metric.restore(torch.tensor([record["rows"][key] for record in records]))

    def _methods(self, extractors: Sequence[Extractor | str] | None) -> dict[str, Extractor]:
        named = None if extractors is None else [parse_method(method) for method in extractors]
        if named is not None and len({spell(extractor) for extractor in named}) < max(1, len(named)):
            raise InvalidValueError(f"extractors must be different methods, at least one; got {extractors}")
        methods, refused = supported_methods(self.vit, named)
        for line in left_out(refused, len(methods) + len(refused)):
            if not methods:
                raise InvalidValueError(line)
            rank_zero_info(line)
        return methods

    def _check_classes(self, data: SaliencyDataModule, sample: Mapping[str, Any]) -> None:
        names = getattr(data, "class_names", None)
        if "label" in sample and names is not None and 0 < num_classes(self.vit) != len(names):
            raise InvalidValueError(
                f"the model knows {num_classes(self.vit)} classes and {type(data).__name__} has {len(names)}: "
                "fine-tune a head first (experiments/agcam/*_head.yaml) and name its file with --model.vit"
            )

    def _can_score(self, score: ImageMetric, sample: Mapping[str, Any]) -> bool:
        return all(key in sample for key in score.keys) and not (
            score.needs_class and num_classes(self.vit) < 1
        )

    def _open_results(self, data: SaliencyDataModule) -> None:
        if self.results is None:
            return
        common = {
            "salvit": [__version__, package_hash()],
            "vit": describe_vit(self.vit),
            "precision": str(self.trainer.precision),
            "data": code_of(data),
            "options": {key: value for key, value in data.hparams.items() if key not in IRRELEVANT},
            "images": data.dataset("test").fingerprint(),
            "target": self.target,
            "scores": [f"{code_of(score)} {score.fingerprint()}" for score in self._scorers.values()],
        }
        self._stores = {
            name: Store(self.results, {**common, "method": f"{code_of(extractor)} {extractor!r}"})
            for name, extractor in self.methods.items()
        }
        self._done = {name: store.read() for name, store in self._stores.items()}
        if found := max(map(len, self._done.values()), default=0):
            rank_zero_info(f"going on with the results of {found} images in {self.results}")


IRRELEVANT = frozenset({"root", "batch_size", "num_workers"})
"""Options of a datamodule that change no result."""


def _kinds(heatmaps: Tensor) -> list[str]:
    """What is wrong with each heatmap: a method that fails must not look like a bad one."""
    constant, finite = constant_heatmaps(heatmaps).tolist(), finite_heatmaps(heatmaps).tolist()
    return ["not finite" if not f else "constant" if c else "" for c, f in zip(constant, finite, strict=True)]


def _select(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some images of a batch."""
    return {
        key: value[list(rows)] if isinstance(value, Tensor) else [value[row] for row in rows]
        for key, value in batch.items()
    }
