"""AttnLRP: layer-wise relevance propagation that is one backward pass with other gradients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.gradients import differentiable, outside_graph, target_logits
from salvit.extractors.recording import inputs_of, record
from salvit.extractors.requirements import check_choice
from salvit.vit import ViT, fused_attention

Of = Literal["pixels", "patches", "attention"]
"""Whose relevance a map shows."""

_ACTIVATIONS = {F.gelu, F.silu, F.relu, F.hardswish, torch.sigmoid, torch.Tensor.sigmoid, torch.tanh}
_ACTIVATIONS |= {torch.Tensor.tanh, F.sigmoid, F.tanh}
_PRODUCTS = {torch.mul, torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.mul_}


@register_method("attn_lrp")
class AttnLRP(Extractor):
    """Relevance R = z ⊙ ∂y/∂z, positive or negative, of pixels, patches or attention z; y is the target logit.

    The gradient is that of LRP's rules. Linear layers and additions: the ε-rule with ε = 0, which is their gradient. A
    product of two activations: half the gradient to either. Softmax: the deep Taylor rule, which is its gradient. An
    activation f(z): the identity rule, f(z) / z in place of the gradient. Normalisation: the identity rule, so its
    standard deviation is held fixed. Any other operation takes its gradient, as the group normalisation of hybrid
    models. Biases keep the relevance that falls to them. Costs a forward and a backward pass.

    Source: Achtibat et al., "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers", ICML 2024,
    section 3, in the gradient × input form of its appendix; without the γ-rule that it adds for vision transformers.

    Args:
        of: "pixels" of the normalised image, summed over the channels, [B, 1, H, W]; "patches", the tokens that enter
            the first block, summed over their features, [B, 1, h, w]; "attention", the weights A of all blocks, where
            the map at a patch is the sum over blocks, heads and queries of the relevance of the attention to it (our
            reading: the source shows no map of it), [B, 1, h, w].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AttnLRP()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
        >>> AttnLRP(of="pixels")(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 32, 48])
    """

    class_specific = True
    requires = frozenset({"attention", "gradients"})

    def __init__(self, of: Of = "patches") -> None:
        check_choice("of", of, Of)
        self.of = of

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        with differentiable(), _fixed_weights(vit), fused_attention(vit):
            pixels = outside_graph(images).requires_grad_()
            if self.of == "attention":
                return patches_to_grid(vit, images, _of_attention(vit, pixels, target)[:, None])
            with inputs_of([vit.blocks[0]]) as entering, _Rules():
                logits = vit(pixels)
            start = pixels if self.of == "pixels" else entering[vit.blocks[0]]
            [gradient] = torch.autograd.grad(target_logits(logits, target), start)
        relevance = start.detach() * gradient
        if self.of == "pixels":
            return relevance.sum(dim=1, keepdim=True)
        return patches_to_grid(vit, images, relevance.flatten(1, -2).sum(dim=-1)[:, None])


def _of_attention(vit: ViT, pixels: Tensor, target: Tensor | None) -> Tensor:
    """Relevance of the attention to each token, [B, N]."""
    with record(vit, gradients=True) as recording, _Rules():
        logits = vit(pixels)
    blocks = range(len(vit.blocks))
    gradients = recording.gradients(target_logits(logits, target), blocks)
    # The rules halve what goes to queries and keys, so that of the product A·V half is still to be taken off here.
    pairs = zip((recording.attention[block] for block in blocks), gradients, strict=True)
    return torch.stack([(a.detach() * g).sum(dim=(1, 2)) / 2 for a, g in pairs]).sum(dim=0)


@contextmanager
def _fixed_weights(vit: ViT) -> Iterator[None]:
    """Turn off the gradients of all weights, so that only activations require one."""
    trained = [weight for weight in vit.parameters() if weight.requires_grad]
    try:
        for weight in trained:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in trained:
            weight.requires_grad_()


class _Rules(TorchFunctionMode):
    """Gives the operations that have a rule its gradient in place of their own, while a model runs in it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.layer_norm:
            return _normalised(_centred, *args, **kwargs)
        if func is F.rms_norm:
            return _normalised(_uncentred, *args, **kwargs)
        if func in _ACTIVATIONS and _active(args[0]):
            return _activated(func, *args, **kwargs)
        if func in _PRODUCTS and all(map(_active, args[:2])):
            return func(*(_scaled(factor, 0.5) for factor in args[:2]))
        if func is F.scaled_dot_product_attention:
            return _attend(*args, **kwargs)
        return func(*args, **kwargs)


class _Gradient(torch.autograd.Function):
    """Returns `output` with `factor` as its gradient with respect to x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, factor: Tensor | float) -> Tensor:
        ctx.factor = factor
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.factor, None, None


def _active(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _scaled(x: Tensor, factor: float) -> Tensor:
    """Return x, whose gradient is scaled."""
    return _Gradient.apply(x, x.detach(), factor)


def _activated(func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    entered = x.detach()
    output = func(entered.clone() if kwargs.get("inplace") else entered, *args, **kwargs)
    return _Gradient.apply(x, output, torch.where(entered == 0, 0, output / entered))


def _normalised(
    parts: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """The normalisation of the last dimension, with its deviation held fixed."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    numerator, mean_square = parts(wide)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    output = numerator * (mean_square.detach() + eps).rsqrt()
    output = output if weight is None else output * weight
    return (output if bias is None else output + bias).to(x.dtype)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred, centred.detach().square().mean(dim=-1, keepdim=True)


def _uncentred(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x.detach().square().mean(dim=-1, keepdim=True)


def _attend(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Attention, whose two products halve: A·V, and Q·Kᵀ unless one of the two is constant, as of a pooling query."""
    if not any(map(_active, (query, key))):
        return F.scaled_dot_product_attention(query, key, value, *args, **kwargs)
    scores = 0.25 if _active(query) and _active(key) else 0.5
    query, key = (_scaled(part, scores) if _active(part) else part for part in (query, key))
    return F.scaled_dot_product_attention(query, key, _scaled(value, 0.5), *args, **kwargs)
