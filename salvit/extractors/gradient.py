"""Methods that follow the gradient of the target logit to the attention or to the pixels."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Literal

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.gradients import (
    attention_gradients,
    class_row_gradients,
    differentiable,
    outside_graph,
    pixel_gradient,
    target_logits,
)
from salvit.extractors.recording import outputs_of, record
from salvit.extractors.rows import Rows, carry, check_rows, rows_of, select_row
from salvit.vit import ViT, block_indices, has_residual, num_heads


@register_method("agcam")
class AGCAM(Extractor):
    """Σ over blocks and heads of sigmoid(scores) ⊙ max(∂y/∂A, 0), in the row that the classifier reads.

    Scores are those before the softmax, scaled and with any bias; y is the target logit. Its gradient flows through the
    residual stream and the MLPs only, never into an attention's input; a model without residual connections is refused.
    If the model classifies from its class token, only class rows have a gradient, and the map costs little more than
    the forward pass. Otherwise the map is the mean over the rows that are read (the paper does not say which) and costs
    a backward pass.

    Source: Leem and Seo, "Attention Guided CAM: Visual Explanations of Vision Transformer Guided by Self-Attention",
    AAAI 2024, equations 2–8.

    Args:
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AGCAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset({"attention", "gradients", "residual"})

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


class AttentionTimesGradient(Extractor):
    """Options that the methods of attention × gradient share."""

    class_specific = True
    requires = frozenset({"attention", "gradients"})

    def __init__(self, per_head: bool = False, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.per_head = per_head
        self.rows: Rows = rows

    def _positive(
        self, vit: ViT, images: Tensor, target: Tensor | None, blocks: Sequence[int]
    ) -> Iterator[Tensor]:
        """max(∂y/∂A ⊙ A, 0) of each block, [B, heads, N, N], one at a time to save memory."""
        found = attention_gradients(vit, images, target, blocks)
        for attention, gradient in zip(found.attention, found.gradients, strict=True):
            yield (attention * gradient).clamp(min=0)


@register_method("attention_gradient")
class AttentionGradient(AttentionTimesGradient):
    """Attention times the gradient of the target logit y, where positive: Σ_heads max(∂y/∂A ⊙ A, 0).

    The map is the row that the classifier reads, of one block or of the mean over all blocks.

    Source: Agrawal, Dayton and Dauber, "Visualizing Attention in Vision Transformers", poster, Stanford University. It
    names neither block nor row nor how heads are combined; the positive part is that of Chefer, Gur and Wolf (2021).

    Args:
        block: block index, or "mean" for the mean over all blocks.
        per_head: one map per head instead of their sum; only of a single block.
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AttentionGradient(per_head=True)(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 3, 2, 3])
    """

    def __init__(
        self, block: int | Literal["mean"] = -1, per_head: bool = False, rows: Rows = "auto"
    ) -> None:
        super().__init__(per_head, rows)
        if isinstance(block, str) and block != "mean":
            raise InvalidValueError(f'block must be an index or "mean"; got {block!r}')
        if per_head and block == "mean":
            raise InvalidValueError(
                "per_head needs a single block: heads of different blocks do not correspond"
            )
        self.block = block

    def num_channels(self, vit: ViT) -> int:
        """Return the number of the block's heads if `per_head`, else 1."""
        return num_heads(vit, self._blocks(vit)[0]) if self.per_head else 1

    def _blocks(self, vit: ViT) -> list[int]:
        return block_indices(vit, range(len(vit.blocks)) if isinstance(self.block, str) else [self.block])

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        factors = self._positive(vit, images, target, self._blocks(vit))
        row = torch.stack([select_row(vit, factor, self.rows) for factor in factors]).mean(dim=0)
        row = row if self.per_head else row.sum(dim=1, keepdim=True)
        return patches_to_grid(vit, images, row)


@register_method("generic_attention")
class GenericAttention(AttentionTimesGradient):
    """Attention times gradient, accumulated over the blocks along the residual stream.

    R = I; from the first block to the last R ← R + mean_heads(max(∂y/∂A ⊙ A, 0)) · R, y the target logit. The map is
    the row of R − I that the classifier reads; only that row is carried, from the last block down. A block without
    residual connections adds nothing: R ← mean_heads(max(∂y/∂A ⊙ A, 0)) · R, and the map is the row of R.

    Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers", ICCV 2021, equations 5 and 6.

    Args:
        per_head: one map per head of the last block, over the averaged lower blocks; their mean is the map without it.
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> GenericAttention()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        *lower, last = self._positive(vit, images, target, range(len(vit.blocks)))
        row = select_row(vit, last, self.rows)
        row = row if self.per_head else row.mean(dim=1, keepdim=True)
        identity = select_row(vit, torch.eye(row.shape[-1], dtype=row.dtype, device=row.device), self.rows)
        for block in reversed(range(len(lower))):
            kept = float(has_residual(vit.blocks[block]))
            row = kept * row + carry(kept * identity + row, lower[block].mean(dim=1))
        return patches_to_grid(vit, images, row)


@register_method("input_gradient")
class InputGradient(Extractor):
    """The largest |∂y/∂x| over the channels of each pixel x of the normalised image, y the target logit: [B, 1, H, W].

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", 2013, section 3.1.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> InputGradient()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 32, 48])
    """

    class_specific = True
    requires = frozenset()

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        return self._reduce(images, pixel_gradient(vit, images, target))

    def _reduce(self, images: Tensor, gradient: Tensor) -> Tensor:
        return gradient.abs().amax(dim=1, keepdim=True)


@register_method("input_x_gradient")
class InputXGradient(InputGradient):
    """Σ over channels of x ⊙ ∂y/∂x for each pixel x of the normalised image, y the target logit: [B, 1, H, W].

    Source: Shrikumar et al., "Not Just a Black Box", 2016, the gradient × input of section 3.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> InputXGradient()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 32, 48])
    """

    def _reduce(self, images: Tensor, gradient: Tensor) -> Tensor:
        return (images * gradient).sum(dim=1, keepdim=True)


@register_method("legrad")
class LeGrad(Extractor):
    """Σ_l mean over heads and query rows of max(∂s_l/∂A_l, 0), s_l the target logit read from block l's output.

    The logit s_l is head(norm(mean over all tokens of block l's output)). Every block's input is held fixed, so one
    backward pass of Σ_l s_l gives all gradients. Needs no class token. Unlike the source, maps are summed over the
    blocks and not normalised, and attention pooling is applied to the mean token alone.

    Source: Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature Formation
    Sensitivity", ICCV 2025, section 3; the tokens' mean as in its code.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> LeGrad()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset({"attention", "gradients"})

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        with differentiable(), ExitStack() as stack:
            for block in vit.blocks:
                hold_input = block.register_forward_pre_hook(lambda _, args: (args[0].detach(), *args[1:]))
                stack.enter_context(hold_input)
            outputs = stack.enter_context(outputs_of(vit.blocks))
            recording = stack.enter_context(record(vit, gradients=True))
            logits = vit(outside_graph(images))
            classes = logits.argmax(dim=-1) if target is None else target
            # Whatever the model pools (class token, mean, attention), equal tokens pool to that token.
            means = [vit.norm(one.mean(dim=1, keepdim=True)).expand_as(one) for one in outputs.values()]
            scores = [target_logits(vit.forward_head(mean), classes) for mean in means]
            gradients = recording.gradients(torch.stack(scores).sum(), recording.attention)
        row = torch.stack([gradient.clamp(min=0).mean(dim=(1, 2)) for gradient in gradients]).sum(dim=0)
        return patches_to_grid(vit, images, row[:, None])
