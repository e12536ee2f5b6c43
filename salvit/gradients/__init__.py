"""Gradients of class logits with respect to attention, on frozen models and in any grad mode."""

from salvit.gradients.attention import attention_gradients
from salvit.gradients.class_row import ClassRow, class_row_gradients
from salvit.gradients.logits import differentiable, outside_graph, target_logits
from salvit.gradients.support import require_class_readout, require_differentiable, require_gradients

__all__ = [
    "ClassRow",
    "attention_gradients",
    "class_row_gradients",
    "differentiable",
    "outside_graph",
    "require_class_readout",
    "require_differentiable",
    "require_gradients",
    "target_logits",
]
