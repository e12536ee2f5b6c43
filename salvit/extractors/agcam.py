"""Attention-guided CAM: gradients along the residual stream, guided by the attention scores."""

import torch
from torch import Tensor

from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.registry import register_method
from salvit.gradients import class_row_gradients, require_class_readout, require_differentiable
from salvit.vit import ViT


@register_method("agcam")
class AGCAM(Extractor):
    """Σ over blocks and heads of sigmoid(scores of the class row) ⊙ max(∂y/∂A of the class row, 0).

    Scores are those before the softmax, scaled and with any bias; y is the target logit, and its gradient
    flows through the residual stream and the MLPs only, never into an attention's input. So only class rows
    have one, and the map costs little more than the forward pass. Values are not normalised. The sum runs
    over the heads too (equation 8), so there is one map.

    Source: Leem and Seo, "Attention Guided CAM: Visual Explanations of Vision Transformer Guided by
    Self-Attention", AAAI 2024, equations 2–8.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AGCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True

    def check(self, vit: ViT) -> None:
        """Raise if the model is unfit or does not classify from a class token.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            ValueError: if it is in training mode or checkpoints gradients, or if it does not classify from
                a class token.
        """
        super().check(vit)
        require_differentiable(vit)
        require_class_readout(vit, repr(self))

    def num_channels(self, vit: ViT) -> int:
        """Return 1."""
        return 1

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        rows = class_row_gradients(vit, images, target)
        guided = [
            (scores.sigmoid() * gradient.clamp(min=0)).sum(dim=1)
            for scores, gradient in zip(rows.scores, rows.gradients, strict=True)
        ]
        return patches_to_grid(vit, images, torch.stack(guided).sum(dim=0))
