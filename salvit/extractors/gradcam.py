"""Grad-CAM on a ViT, with attention maps as its channels or the tokens' features, and its kin on the latter."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.gradient import AttentionTimesGradient
from salvit.extractors.gradients import attention_gradients, differentiable, outside_graph, target_logits
from salvit.extractors.rows import select_row
from salvit.vit import ViT, attention_modules, num_prefix_tokens, patch_grid


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
        dtype, prefix = torch.promote_types(gradient.dtype, torch.float32), num_prefix_tokens(vit)
        row = self._row(feature[:, prefix:].to(dtype), gradient[:, prefix:].to(dtype)).clamp(min=0)
        return row.unflatten(-1, patch_grid(vit, images))[:, None]

    def _row(self, features: Tensor, gradients: Tensor) -> Tensor:
        """The map [B, hw], before its negative part is cut, from features and gradients of the patches [B, hw, D]."""
        return (features * gradients.mean(dim=1, keepdim=True)).sum(dim=-1)


@register_method("gradcam_plus_plus")
class GradCAMPlusPlus(TokenGradCAM):
    """Grad-CAM++ on the features F [N, D] of the tokens that enter one block's attention: max(Σ_d w_d F_d, 0).

    With g = ∂y/∂F, y the target logit: w_d = Σ_p α_pd max(g_pd, 0) over the patches p, α_pd = 1 / (2 + g_pd Σ_q F_qd),
    which is the source's g² / (2g² + g³ Σ_q F_qd). The source has features that are not negative. Those of a ViT may
    be, so a denominator may be near 0 and a map depend on little. The pytorch-grad-cam package adds 1e-6 to the
    denominator, so its maps differ where gradients are near 1e-3 or smaller. F is that of `TokenGradCAM`.

    Source: Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", WACV 2018,
    equations 5 and 19, for the score exp(y), on the layer that the pytorch-grad-cam package names for ViTs.

    Args:
        block: block index, negative ones counting from the last.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> GradCAMPlusPlus()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    def _row(self, features: Tensor, gradients: Tensor) -> Tensor:
        shares = 1 / (2 + gradients * features.sum(dim=1, keepdim=True))
        weights = (shares * gradients.clamp(min=0)).sum(dim=1, keepdim=True)
        return (features * weights).sum(dim=-1)


@register_method("hirescam")
class HiResCAM(TokenGradCAM):
    """HiResCAM on the features F [N, D] of the tokens that enter one block's attention: max(Σ_d F_d ⊙ ∂y/∂F_d, 0).

    y is the target logit. The gradient is that of each patch, not its mean over the patches. F is that of
    `TokenGradCAM`. A block in which attention and MLP are one module normalises F itself: then the sum is 0 whatever
    the image, so such models are refused.

    Source: Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", 2020, section 3, with the negative part cut as in the pytorch-grad-cam package.

    Args:
        block: block index, negative ones counting from the last.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> HiResCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    def check(self, vit: ViT) -> None:
        """Raise, before anything is computed, the error of a call if the model does not support the method."""
        super().check(vit)
        if attention_modules(vit, self.block) == [vit.blocks[self.block]]:
            raise InvalidValueError(
                f"{self} needs tokens that are normalised before they enter the attention, and block {self.block} of "
                f"this {type(vit).__name__} normalises them in the same module, so every sum is 0"
            )

    def _row(self, features: Tensor, gradients: Tensor) -> Tensor:
        return (features * gradients).sum(dim=-1)


@register_method("layercam")
class LayerCAM(TokenGradCAM):
    """LayerCAM on the features F [N, D] of tokens that enter one block's attention: max(Σ_d F_d ⊙ max(∂y/∂F_d, 0), 0).

    y is the target logit. F is that of `TokenGradCAM`.

    Source: Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", TIP 2021,
    equations 5 to 7, on the layer that the pytorch-grad-cam package names for ViTs, `blocks[-1].norm1`.

    Args:
        block: block index, negative ones counting from the last.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> LayerCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    def _row(self, features: Tensor, gradients: Tensor) -> Tensor:
        return (features * gradients.clamp(min=0)).sum(dim=-1)
