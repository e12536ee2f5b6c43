"""Layer-wise relevance propagation: relevance of the explained logit, shared out layer by layer."""

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.lrp.engine import Flow, attended, patch_relevance
from salvit.extractors.lrp.precision import in_double, plain_arithmetic
from salvit.extractors.lrp.rules import ORIGINAL, TRANSFORMER, pixels_relevance
from salvit.extractors.requirements import check_choice
from salvit.vit import ViT, block_indices, has_residual, num_heads, patch_grid, tokens_read

Precision = Literal["model", "double"]

_TAPE_BYTES = 2**31
_CPU_TOKENS = 1600  # rows that fill matrix products; more of them only leave the caches


class _LRP(Extractor):
    """What the methods share: the models they cover, full precision, and bounded memory."""

    class_specific: ClassVar[bool] = True
    requires = frozenset({"attention", "gradients", "float_weights"})
    precision: Precision = "model"

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        with plain_arithmetic(images.device.type):
            dtype = next(vit.parameters()).dtype
            exact = in_double(vit) if self.precision == "double" else vit
            images = images.to(next(exact.parameters()).dtype)
            size = _images_at_once(vit, images, self._first_block(vit))
            targets = [None] * len(images) if target is None else target.split(size)
            maps = [
                self._explain(vit, exact, part, classes)
                for part, classes in zip(images.split(size), targets, strict=False)
            ]
            return torch.cat(maps).to(dtype)

    @abstractmethod
    def _first_block(self, vit: ViT) -> int:
        """Return the index of the lowest block that relevance reaches."""

    @abstractmethod
    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        """Return the maps of images few enough to be kept on tape at once; `exact` runs forward, `vit` or its copy."""


@register_method("relevance_lrp")
class RelevanceLRP(_LRP):
    """Relevance of the attention weighted by the logit's gradient, accumulated over the blocks.

    Per block, M = mean over heads of (∇A ⊙ R_A)⁺, with ∇A the gradient of the target logit with respect to the
    attention A and R_A the relevance of A. The map is the row of ∏ (M + I) − I that the classifier reads (of a
    distilled model, the class token's), over the blocks from the last down to `start_layer`; without residual
    connections, for which I stands, it is the row of ∏ M. Linear layers and additions share relevance by the rules of
    `salvit.extractors.lrp.rules.TRANSFORMER`, products of two activations halve it, and normalisation, activation,
    softmax and LayerScale pass it on. Beyond the source: RoPE is a linear layer, the two factors of a gated MLP take
    half each, a position bias takes its share of a score's relevance, and a sum is shared as an average is.

    Maps are non-negative. Autocast and TF32 have no effect; about two GiB of activations is kept at a time. The rules
    divide by sums that may nearly vanish, so rounding in a float32 forward pass may change a map (docs/results.md,
    docs/performance.md). "double" runs that pass in float64; it costs one forward pass more on CPUs and data-centre
    GPUs, many on GPUs with little float64, a copy of the weights, and does not run on Apple's GPUs.

    Source: Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention Visualization", CVPR 2021, section 3,
    equations 13 and 14; there sums of relevance run over the batch, here over each image.

    Args:
        start_layer: lowest block that contributes; the source's evaluations use 1, its notebooks 0.
        per_head: one map per head of the last block; their mean is the map without it.
        precision: dtype of the forward pass: "model", that of the weights, or "double".

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RelevanceLRP(per_head=True)(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 3, 2, 3])
    """

    def __init__(self, start_layer: int = 1, per_head: bool = False, precision: Precision = "model") -> None:
        check_choice("precision", precision, Precision)
        self.precision = precision
        self.start_layer = start_layer
        self.per_head = per_head

    def _first_block(self, vit: ViT) -> int:
        return block_indices(vit, [self.start_layer])[0]

    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        flows = attended(vit, exact, images, target, TRANSFORMER, self._first_block(vit), gradients=True)
        last = next(flows)
        # How the classifier weighs the tokens: 1 for the class token, or 1/n for each of n tokens.
        identity = last.relevance.new_zeros(len(images), self.num_channels(vit), last.relevance.shape[-1])
        read = identity[..., tokens_read(vit)]
        read.fill_(1 / read.shape[-1])
        kept = float(has_residual(vit.blocks[0]))  # all blocks have residual connections, or none
        rows = _through_factor(identity, last, fused=not self.per_head)
        for flow in flows:
            rows = kept * rows + _through_factor(kept * identity + rows, flow, fused=True)
        return patches_to_grid(vit, images, rows)


@register_method("partial_lrp")
class PartialLRP(_LRP):
    """Positive relevance of the last block's attention, mean over the heads, in the row that the classifier reads.

    Relevance starts as 1 at the target logit and is shared by the rules of `salvit.extractors.lrp.rules.ORIGINAL`.
    Maps are non-negative. Autocast and TF32 have no effect.

    Source: Voita et al., "Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy Lifting, the Rest Can Be
    Pruned", ACL 2019, as the partial LRP of Chefer, Gur and Wolf, CVPR 2021.

    Args:
        per_head: one map per head instead of their mean.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> PartialLRP()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, per_head: bool = False) -> None:
        self.per_head = per_head

    def _first_block(self, vit: ViT) -> int:
        return len(vit.blocks) - 1

    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        last = self._first_block(vit)
        [flow] = attended(vit, exact, images, target, ORIGINAL, last, gradients=False)
        relevance = flow.relevance.clamp(min=0)
        if not self.per_head:
            relevance = relevance.mean(1, keepdim=True)
        return patches_to_grid(vit, images, relevance[:, :, tokens_read(vit)].mean(2))


@register_method("full_lrp")
class FullLRP(_LRP):
    """Relevance of every pixel, positive or negative, [B, 1, H, W].

    Relevance starts as 1 at the target logit and is shared, through all blocks, by the rules of
    `salvit.extractors.lrp.rules.ORIGINAL`; at the patch embedding by the z^B rule (`pixels_relevance`), then summed
    over colours. The relevance of prefix tokens and position embeddings is dropped. Maps do not add up to the logit:
    positive and negative inputs of a linear layer receive the whole relevance each. Autocast and TF32 have no effect.
    In float32 most maps of photographs are rounding error (docs/results.md), so by default the forward pass is in
    float64: see `RelevanceLRP`.

    Source: Binder et al., "Layer-wise Relevance Propagation for Neural Networks with Local Renormalization Layers",
    ICANN 2016, as the full LRP of Chefer, Gur and Wolf, CVPR 2021.

    Args:
        precision: dtype of the forward pass: "double", or "model", that of the weights.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> FullLRP()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 32, 48])
    """

    requires = _LRP.requires | {"pixel_rule"}

    def __init__(self, precision: Precision = "double") -> None:
        check_choice("precision", precision, Precision)
        self.precision = precision

    def _first_block(self, vit: ViT) -> int:
        return 0

    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        patches = patch_relevance(vit, exact, images, target, ORIGINAL)
        return pixels_relevance(exact, images, patches)


def _through_factor(rows: Tensor, flow: Flow, fused: bool) -> Tensor:
    """Return rows [B, K, N] times M; if not `fused`, each row times the factor of its own head."""
    assert flow.gradient is not None
    factor = (flow.gradient * flow.relevance).clamp_(min=0)
    return rows @ factor.mean(1) if fused else (rows.unsqueeze(2) @ factor).squeeze(2)


def _images_at_once(vit: ViT, images: Tensor, first_block: int) -> int:
    """Return how many images' tapes and attention matrices fit into two GiB, and on a CPU are quickest."""
    height, width = patch_grid(vit, images)
    tokens = vit.num_prefix_tokens + height * width
    kept = 12 * num_heads(vit) * tokens**2 + 30 * vit.embed_dim * tokens * (len(vit.blocks) - first_block)
    fitting = _TAPE_BYTES // (kept * images.element_size())
    return max(1, min(fitting, _CPU_TOKENS // tokens) if images.device.type == "cpu" else fitting)
