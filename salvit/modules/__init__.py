"""LightningModules: what is trained and scored."""

from salvit.modules.classification import ClassificationModule
from salvit.modules.explanation import ExplanationModule
from salvit.modules.saliency import SaliencyModule

__all__ = ["ClassificationModule", "ExplanationModule", "SaliencyModule"]
