"""Grad-CAM on a ViT: with attention maps as its channels, or the tokens' features."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.gradient import AttentionTimesGradient
from salvit.extractors.gradients import attention_gradients, differentiable, outside_graph, target_logits
from salvit.extractors.rows import select_row
from salvit.vit import ViT, attention_modules, num_prefix_tokens


@register_method("attn_gradcam")
class AttentionGradCAM(AttentionTimesGradient):
    """Grad-CAM whose channels are the heads of the last block: max(mean_h(w_h · A_h), 0).

    A_h is the attention to the patches of the row that the classifier reads, w_h the mean over the patches of ∂y/∂A_h,
    y the target logit. With `per_head` the map of head h is max(w_h · A_h, 0).

    Source: the Grad-CAM baseline of Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention
    Visualization", CVPR 2021, after Selvaraju et al., ICCV 2017.

    Args:
        per_head: one map per head instead of their mean.
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AttentionGradCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        last = attention_gradients(vit, images, target, [len(vit.blocks) - 1])
        attention, gradient = (select_row(vit, one[0], self.rows) for one in (last.attention, last.gradients))
        weights = gradient[..., num_prefix_tokens(vit) :].mean(dim=-1, keepdim=True)
        row = attention * weights
        row = row if self.per_head else row.mean(dim=1, keepdim=True)
        return patches_to_grid(vit, images, row.clamp(min=0))


@register_method("token_gradcam")
class TokenGradCAM(Extractor):
    """Grad-CAM whose channels are the features F [N, D] of the tokens that enter one block's attention.

    The map is max(Σ_d w_d F_d, 0) over the patches, w_d the mean over the patches of ∂y/∂F_d, y the target
    logit. F is what the block's first normalisation gives (the block's input where there is none before the attention,
    or attention and MLP are one module); of attentions side by side, the features of each count.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2, on the layer that the pytorch-grad-cam
    package names for ViTs, `blocks[-1].norm1`.

    Args:
        block: block index, negative ones counting from the last.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> TokenGradCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset({"gradients"})

    def __init__(self, block: int = -1) -> None:
        self.block = block

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        features: list[Tensor] = []

        def begin_graph(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            features.append(args[0].detach().requires_grad_())
            return (features[-1], *args[1:])

        with differentiable(), ExitStack() as stack:
            for module in attention_modules(vit, self.block):
                stack.enter_context(module.register_forward_pre_hook(begin_graph))
            logits = vit(outside_graph(images))
            gradients = torch.autograd.grad(target_logits(logits, target), features)
        gradient, feature = (torch.cat(tuple(parts), dim=-1).detach() for parts in (gradients, features))
        dtype = torch.promote_types(gradient.dtype, torch.float32)
        weights = gradient[:, num_prefix_tokens(vit) :].to(dtype).mean(dim=1, keepdim=True)
        row = (feature.to(dtype) * weights).sum(dim=-1).clamp(min=0)
        return patches_to_grid(vit, images, row[:, None])
