"""Attention-guided CAM: gradients along the residual stream, guided by the attention scores."""

import torch
from torch import Tensor

from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.gradients import attention_gradients, class_row_gradients
from salvit.extractors.registry import register_method
from salvit.extractors.rows import Rows, check_rows, rows_of, select_row
from salvit.vit import ViT


@register_method("agcam")
class AGCAM(Extractor):
    """Σ over blocks and heads of sigmoid(scores) ⊙ max(∂y/∂A, 0), of the row that the classifier reads.

    Scores are those before the softmax, scaled and with any bias; y is the target logit, and its gradient
    flows through the residual stream and the MLPs only, never into an attention's input. So of a model that classifies
    from its class token only class rows have one, and the map costs little more than the forward pass. Of one that
    pools other tokens the map is the mean over their rows (the paper says that the method holds there, and leaves the
    rows open), at the cost of a backward pass. Values are not normalised. The sum runs over the heads too (equation 8),
    so there is one map.

    Source: Leem and Seo, "Attention Guided CAM: Visual Explanations of Vision Transformer Guided by
    Self-Attention", AAAI 2024, equations 2–8.

    Args:
        rows: "auto", "class" or "all"; see `salvit.extractors.rows.Rows`.

    Raises:
        ValueError: if `rows` is not one of those above.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AGCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset({"attention", "gradients"})

    def __init__(self, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.rows = rows

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        if rows_of(vit, self.rows) == slice(0, 1):
            found = class_row_gradients(vit, images, target)
        else:
            found = attention_gradients(vit, images, target, range(len(vit.blocks)), residual_only=True)
        guided = []
        for scores, gradient in zip(found.scores, found.gradients, strict=True):
            maps = (scores.sigmoid() * gradient.clamp(min=0)).sum(dim=1)
            guided.append(maps[:, 0] if maps.shape[1] == 1 else select_row(vit, maps, self.rows))
        return patches_to_grid(vit, images, torch.stack(guided).sum(dim=0)[:, None])
