"""The labels by which W&B names, groups and filters runs: backbone, method, k and dataset."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from salvit.extractors import Extractor, spell
from salvit.modules import ClassificationModule, ExplanationModule, SaliencyModule


@dataclass(frozen=True)
class RunLabels:
    """Backbone, methods and dataset of a run.

    Attributes:
        backbone: as tables name it.
        dataset: as tables name it.
        methods: the methods of the run, by how they are written; none where a classifier is trained.

    Example:
        >>> from salvit.extractors import parse_method
        >>> methods = {"salient_attention": parse_method("salient_attention")}
        >>> labels = RunLabels("salvit_tiny", "OSIE", methods)
        >>> labels.name, labels.group
        ('salvit_tiny · salient_attention · k=32 · OSIE', 'salvit_tiny · salient_attention · OSIE')
        >>> labels.tags
        ['salvit_tiny', 'salient_attention', 'k=32', 'OSIE']
    """

    backbone: str
    dataset: str
    methods: Mapping[str, Extractor]

    @property
    def method(self) -> str | None:
        """The method without its k, or how many methods there are, or None."""
        if len(self.methods) == 1:
            return method_and_k(next(iter(self.methods.values())))[0]
        return f"{len(self.methods)} methods" if self.methods else None

    @property
    def k(self) -> int | None:
        """The k of the method; None if there is not one method, or it has no k."""
        return method_and_k(next(iter(self.methods.values())))[1] if len(self.methods) == 1 else None

    @property
    def name(self) -> str:
        """All labels in one line."""
        k = None if self.k is None else f"k={self.k}"
        return " · ".join(filter(None, [self.backbone, self.method, k, self.dataset]))

    @property
    def group(self) -> str:
        """The labels without k: what a sweep over k compares is one group."""
        return " · ".join(filter(None, [self.backbone, self.method, self.dataset]))

    @property
    def tags(self) -> list[str]:
        """The labels one by one, and every method."""
        tags = [self.backbone]
        for method, k in map(method_and_k, self.methods.values()):
            tags += [method] if k is None else [method, f"k={k}"]
        return list(dict.fromkeys([*tags, self.dataset]))

    def row(self, method: str | None = None) -> dict[str, Any]:
        """The labels as fields of a row of a table, or of a configuration.

        Args:
            method: a key of `methods`; None for the run as a whole.
        """
        name, k = (self.method, self.k) if method is None else method_and_k(self.methods[method])
        return {"backbone": self.backbone, "method": name, "k": k, "dataset": self.dataset}


def labels_of(module: LightningModule, data: LightningDataModule) -> RunLabels:
    """The labels of a run of one of salvit's modules; of another module, the name of its class."""
    dataset = type(data).__name__.removesuffix("DataModule")
    if isinstance(module, ExplanationModule):
        return RunLabels(module.model_name, dataset, module.methods)
    if isinstance(module, SaliencyModule):
        return RunLabels(module.backbone, dataset, {spell(module.extractor): module.extractor})
    backbone = module.backbone if isinstance(module, ClassificationModule) else type(module).__name__
    return RunLabels(backbone, dataset, {})


def method_and_k(extractor: Extractor) -> tuple[str, int | None]:
    """How a method is written without its option k, and its k, None if it has none.

    Example:
        >>> from salvit.extractors import parse_method
        >>> method_and_k(parse_method("salient_attention:k=16,seed=1"))
        ('salient_attention:seed=1', 16)
    """
    method = re.sub(r"(?<=[:,])k=\d+,?", "", spell(extractor)).rstrip(":,")
    return method, getattr(extractor, "k", None)
