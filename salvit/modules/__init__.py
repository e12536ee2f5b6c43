"""LightningModules: what is trained and scored."""

from salvit.modules.classification import ClassificationModule
from salvit.modules.saliency import SaliencyModule

__all__ = ["ClassificationModule", "SaliencyModule"]
