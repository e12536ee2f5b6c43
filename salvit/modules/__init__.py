"""LightningModules: what is trained and scored."""

from salvit.modules.classification import ClassificationModule
from salvit.modules.explanation import ExplanationModule
from salvit.modules.fitted import FittedSaliency, load_saliency
from salvit.modules.saliency import SaliencyModule

__all__ = ["ClassificationModule", "ExplanationModule", "FittedSaliency", "SaliencyModule", "load_saliency"]
