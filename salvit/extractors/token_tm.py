"""TokenTM: attention × gradient, each token counting as much as the block changes it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.extractors.base import patches_to_grid, register_method
from salvit.extractors.gradient import AttentionTimesGradient
from salvit.extractors.gradients import differentiable, outside_graph, target_logits
from salvit.extractors.recording import inputs_of, record
from salvit.extractors.rollout import added
from salvit.extractors.rows import carry, select_row
from salvit.vit import ViT, fused_attention, has_residual


@register_method("tokentm")
class TokenTM(AttentionTimesGradient):
    """Attention times gradient, weighted by how each token's length and direction change, over all blocks.

    A token e that becomes ẽ weighs w = ‖ẽ‖/‖e‖ · exp cos(e, ẽ) / Σ exp cos, the sum over all tokens. In an attention e
    is what enters the block, and ẽ = W_O^h v^h the contribution of head h before mixing (LayerScale included, W_O's
    bias not); in an MLP, e is the token before the MLP's normalisation, and ẽ what the MLP adds. With y the target
    logit, C = diag ‖e‖ of the first block's tokens to begin with, and per block C ← (I + mean_heads((∂y/∂A^h)⁺ ⊙ A^h
    diag w^h)) · C, then C ← (I + diag w) · C for the MLP. The map is the row of C that the classifier reads. In a block
    without residual connections both I are left out, and ẽ of the MLP is what it gives.

    Source: Wu et al., "Token Transformation Matters: Towards Faithful Post-hoc Explanation for Vision Transformer",
    CVPR 2024, by way of two public re-implementations, featuregradientgate (which names equations 12 to 18) and
    LibraGrad (Mehri et al., CVPR 2025). Where these differ, the former is followed, except that values are the
    model's, with bias and normalisation.

    Args:
        per_head: one map per head of the last block; their mean is the map without it.
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> TokenTM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    requires = frozenset({"attention", "gradients", "additions"})

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        lengths, factors, weights = _transformations(vit, images, target)
        row = select_row(vit, torch.diag_embed(torch.ones_like(lengths)), self.rows)[:, None]
        for index in reversed(range(len(factors))):
            kept = float(has_residual(vit.blocks[index]))
            row = kept * row + row * weights[index]
            factor = factors[index]
            if self.per_head and index == len(factors) - 1:
                row = kept * row + torch.cat([carry(row, head) for head in factor.unbind(dim=1)], dim=1)
            else:
                row = kept * row + carry(row, factor.mean(dim=1))
        return patches_to_grid(vit, images, row * lengths[:, None])


def _transformations(
    vit: ViT, images: Tensor, target: Tensor | None
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """‖e‖ [B, N] of the first block, and per block (∂y/∂A)⁺ ⊙ A diag w [B, H, N, N] and the MLP's w [B, 1, N]."""
    blocks = range(len(vit.blocks))
    # The residual stream: before each block, between its halves, and at the end.
    read = (*vit.blocks, *(block.norm2 for block in vit.blocks), vit.norm)
    with differentiable(), fused_attention(vit), inputs_of(read) as inputs:
        with record(vit, blocks, gradients=True, values=True) as recording:
            logits = vit(outside_graph(images))
        gradients = recording.gradients(target_logits(logits, target), blocks)
    stream = [inputs.pop(module).detach().to(gradients[0].dtype) for module in (*vit.blocks, vit.norm)]
    factors, weights = [], []
    with torch.autocast(images.device.type, enabled=False):
        for index, gradient in enumerate(gradients):
            block, entering = vit.blocks[index], stream[index]
            values = recording.values.pop(index).detach().to(gradient.dtype)
            of_heads = _weight(entering[:, None], added(block, values).transpose(1, 2))
            attention = recording.attention.pop(index).detach()
            factors.append(gradient.clamp_(min=0).mul_(attention).mul_(of_heads[:, :, None]))
            between = inputs.pop(block.norm2).detach().to(gradient.dtype)
            given = stream[index + 1] - between if has_residual(block) else stream[index + 1]
            weights.append(_weight(between, given)[:, None])
    return stream[0].norm(dim=-1), factors, weights


def _weight(before: Tensor, after: Tensor) -> Tensor:
    """Weights w [..., N] of tokens e and ẽ, [..., N, D] each."""
    direction = F.cosine_similarity(before, after, dim=-1).softmax(dim=-1)
    return after.norm(dim=-1) / before.norm(dim=-1).clamp(min=torch.finfo(before.dtype).tiny) * direction
