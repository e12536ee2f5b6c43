"""Layer-wise relevance propagation: relevance of the explained logit, shared out layer by layer."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.registry import register_method
from salvit.lrp import standard, stock
from salvit.lrp.denormals import flush_denormals
from salvit.lrp.double import in_double, require_double
from salvit.lrp.pixels import pixels_relevance
from salvit.lrp.readout import reading_row
from salvit.lrp.rules import ORIGINAL, TRANSFORMER, Attended
from salvit.lrp.support import is_standard, require_lrp_rules, require_pixel_rules, require_reading_row
from salvit.tf32 import without_tf32
from salvit.vit import ViT, block_indices, num_blocks, num_heads, patch_grid

Precision = Literal["model", "double"]

_TAPE_BYTES = 2**30
_CPU_TOKENS = 1600  # rows that fill matrix products; more of them only leave the caches


class _LRP(Extractor):
    """What the methods share: the models they cover, full precision, and bounded memory."""

    class_specific: ClassVar[bool] = True
    precision: Precision = "model"

    def check(self, vit: ViT) -> None:
        """Raise if the model is unfit, or no relevance rule covers how its classifier pools tokens.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            ValueError: if it is in training mode, has weights of less than 32 bits, pools tokens in a way that no
                rule covers, or is to run in float64 on a device without.
        """
        super().check(vit)
        require_lrp_rules(vit, repr(self))
        if self.precision == "double":
            require_double(vit, repr(self))

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        with _plain_arithmetic(images.device.type):
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

    Per block, M = mean over heads of (∇A ⊙ R_A)⁺, with ∇A the gradient of the explained class's logit with
    respect to the attention A and R_A the relevance of A; the map is the class row of ∏ (M + I), over the
    blocks from the last down to `start_layer`, without normalisation of rows. If the classifier averages
    tokens, the row is the mean over the tokens averaged, without what I alone gives, which is the same for all and
    in float32 would take the digits of all else; of a distilled model, whose two classifiers both pass
    relevance on, it is the class token's. Relevance starts as 1 at the logit; linear layers and
    additions share it by the rules of `salvit.lrp.rules.TRANSFORMER`, products of two activations halve it,
    and normalisation, activation, softmax and LayerScale pass it on. Where the source has no rule, those are
    extended: RoPE is a linear layer, the two factors of a gated MLP take half each, a position bias takes its
    share of a score's relevance away, and a sum is shared as an average is.

    Maps are non-negative; with `per_head` the last block's M is that of one head each, so that the mean of
    the maps is the fused one. Autocast and TF32 have no effect, and about a GiB of activations is kept at a time.

    The rules divide by sums that may nearly vanish. In float32 the rounding of such a sum may change a map: with
    the embedded ViT no photograph's (docs/results.md), of displays one in a hundred, and with random weights one in
    six (docs/performance.md). What is lost is lost in the forward pass: "double" runs that pass in float64, and lets
    relevance flow in the weights' precision beside it; on all maps tried that agreed with float64 throughout to 1e-5 of
    the maximum. It costs one forward pass more on CPUs and data-centre GPUs, many on GPUs with little float64, a copy
    of the weights, and is not to be had on Apple's GPUs. Of models whose blocks are not standard, all but the gradient
    and the products of linear layers is in float64.

    Source: Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention Visualization", CVPR 2021,
    section 3, the map by equations 13 and 14; there sums of relevance run over the batch, here over each image.

    Args:
        start_layer: lowest block that contributes, negative ones counting from the last; the source's
            evaluations use 1, its notebooks 0.
        per_head: one map per head of the last block instead of their mean.
        precision: of the forward pass: "model", that of the weights, or "double".

    Raises:
        ValueError: if `precision` is neither.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> RelevanceLRP(per_head=True)(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 3, 2, 3])
    """

    def __init__(self, start_layer: int = 1, per_head: bool = False, precision: Precision = "model") -> None:
        _check_precision(precision)
        self.precision = precision
        self.start_layer = start_layer
        self.per_head = per_head

    def check(self, vit: ViT) -> None:
        """Raise if the model is unfit, or there is no block `start_layer`.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            IndexError: if it has no such block.
            ValueError: if it is in training mode, classifies from neither its class token nor its tokens' mean, has
                weights of less than 32 bits, or is to run in float64 on a device without.
        """
        super().check(vit)
        require_reading_row(vit, repr(self))
        self._first_block(vit)

    def num_channels(self, vit: ViT) -> int:
        """Return the number of heads if `per_head`, else 1."""
        return num_heads(vit) if self.per_head else 1

    def _first_block(self, vit: ViT) -> int:
        return block_indices(vit, [self.start_layer])[0]

    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        flows = _engine(vit).attended(
            vit, exact, images, target, TRANSFORMER, self._first_block(vit), gradients=True
        )
        last = next(flows)
        identity = reading_row(vit, last.relevance)
        if self.per_head:
            identity = identity.expand(-1, num_heads(vit), -1)
        rows = _through_factor(identity, last, fused=not self.per_head)
        for flow in flows:
            rows = rows + _through_factor(identity + rows, flow, fused=True)
        return patches_to_grid(vit, images, rows)


@register_method("partial_lrp")
class PartialLRP(_LRP):
    """Relevance of the last block's attention.

    The class row of mean over heads of (R_A)⁺, or of (R_A)⁺ of each head; if the classifier averages tokens,
    the mean row over the tokens averaged. Relevance starts as 1 at the explained class's logit and is shared
    by the rules of `salvit.lrp.rules.ORIGINAL`.

    Maps are non-negative. Autocast and TF32 have no effect; the few sums that the last block divides by keep their
    digits in float32.

    Source: Voita et al., "Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy Lifting, the
    Rest Can Be Pruned", ACL 2019, as the partial LRP of Chefer, Gur and Wolf, CVPR 2021.

    Args:
        per_head: one map per head instead of their mean.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> PartialLRP()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, per_head: bool = False) -> None:
        self.per_head = per_head

    def check(self, vit: ViT) -> None:
        """Raise if the model is unfit.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            ValueError: if it is in training mode, classifies from neither its class token nor its tokens' mean, or
                has weights of less than 32 bits.
        """
        super().check(vit)
        require_reading_row(vit, repr(self))

    def num_channels(self, vit: ViT) -> int:
        """Return the number of heads if `per_head`, else 1."""
        return num_heads(vit) if self.per_head else 1

    def _first_block(self, vit: ViT) -> int:
        return num_blocks(vit) - 1

    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        last = self._first_block(vit)
        [flow] = _engine(vit).attended(vit, exact, images, target, ORIGINAL, last, gradients=False)
        relevance = flow.relevance.clamp(min=0)
        if not self.per_head:
            relevance = relevance.mean(1, keepdim=True)
        rows = reading_row(vit, relevance)[..., : relevance.shape[2]].unsqueeze(1) @ relevance
        return patches_to_grid(vit, images, rows.squeeze(2))


@register_method("full_lrp")
class FullLRP(_LRP):
    """Relevance of every pixel.

    Relevance starts as 1 at the explained class's logit and is shared, through all blocks, by the rules of
    `salvit.lrp.rules.ORIGINAL`; at the patch embedding by the z^B rule (`salvit.lrp.pixels`), then summed
    over colours. What falls to prefix tokens and position embeddings is dropped.

    Maps [B, 1, H, W] are at pixel resolution and of either sign. They do not add up to the logit: these rules give
    what is positive and what is negative in a linear layer's input the whole relevance each. Autocast and TF32 have
    no effect. The rules divide by sums that may nearly vanish, and without `RelevanceLRP`'s rescaling what that
    leaves grows from block to block: in float32 most maps of photographs are rounding error (docs/results.md), so
    by default the forward pass is in float64: see `RelevanceLRP`.

    Source: Binder et al., "Layer-wise Relevance Propagation for Neural Networks with Local Renormalization
    Layers", ICANN 2016, as the full LRP of Chefer, Gur and Wolf, CVPR 2021.

    Args:
        precision: of the forward pass: "double", or "model", that of the weights.

    Raises:
        ValueError: if `precision` is neither.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> FullLRP()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 32, 48])
    """

    def __init__(self, precision: Precision = "double") -> None:
        _check_precision(precision)
        self.precision = precision

    def check(self, vit: ViT) -> None:
        """Raise if the model is unfit, or its patch embedding has no relevance rule.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            ValueError: if it is in training mode, its patch embedding, how its classifier pools tokens or its
                weights' dtype is not covered, or it is to run in float64 on a device without.
        """
        super().check(vit)
        require_pixel_rules(vit, repr(self))

    def num_channels(self, vit: ViT) -> int:
        """Return 1."""
        return 1

    def _first_block(self, vit: ViT) -> int:
        return 0

    def _explain(self, vit: ViT, exact: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        patches = _engine(vit).patch_relevance(vit, exact, images, target, ORIGINAL)
        return pixels_relevance(exact, images, patches)


def _engine(vit: ViT) -> ModuleType:
    """What carries relevance through the model."""
    return standard if is_standard(vit) else stock


def _check_precision(precision: str) -> None:
    if precision not in get_args(Precision):
        raise ValueError(f'precision must be "model" or "double"; got {precision!r}')


@contextmanager
def _plain_arithmetic(device: str) -> Iterator[None]:
    """No autocast, no TF32, no denormal numbers, and no gradient or inference mode around what is computed."""
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(device, enabled=False),
        without_tf32(),
        flush_denormals(),
    ):
        yield


def _through_factor(rows: Tensor, flow: Attended, fused: bool) -> Tensor:
    """Return rows [B, K, N] times M; if not `fused`, each row times the factor of its own head."""
    assert flow.gradient is not None
    factor = (flow.gradient * flow.relevance).clamp_(min=0)
    rows = rows[..., : factor.shape[2]]
    return rows @ factor.mean(1) if fused else (rows.unsqueeze(2) @ factor).squeeze(2)


def _images_at_once(vit: ViT, images: Tensor, first_block: int) -> int:
    """Return how many images' tapes and attention matrices fit into about a GiB, and on a CPU are quickest."""
    height, width = patch_grid(vit, images)
    tokens = vit.num_prefix_tokens + height * width
    attention, activations = num_heads(vit) * tokens**2, vit.embed_dim * tokens
    blocks = num_blocks(vit) - first_block
    kept = (
        12 * attention + 12 * activations * blocks
        if is_standard(vit)
        else (6 * attention + 30 * activations) * blocks
    )
    fitting = _TAPE_BYTES // (kept * images.element_size())
    return max(1, min(fitting, _CPU_TOKENS // tokens) if images.device.type == "cpu" else fitting)
