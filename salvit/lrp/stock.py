"""Relevance through any plain ViT: the model runs as timm wrote it, and its backward pass carries relevance.

Every operation that meets a token is answered by one whose derivative is its relevance rule. Of standard blocks
`salvit.lrp.standard` gives the same in less time and memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from salvit.gradients import attention_gradients, fused_attention, outside_graph
from salvit.hooks import in_this_thread
from salvit.lrp.rules import STABILIZER, Attended, RuleSet, add_plain, bilinear, divide
from salvit.lrp.tape import require_finite
from salvit.recording import masked
from salvit.vit import ViT, attention_modules


def _named(*names: str) -> set[Any]:
    """Functions of torch and methods of its tensors by name."""
    return {getattr(place, name) for place in (torch, torch.Tensor) for name in names if hasattr(place, name)}


_PASSED_ON = {F.layer_norm, F.rms_norm, F.gelu, F.silu, F.relu} | _named("sigmoid", "tanh", "neg", "__neg__")
_MOVED = {F.dropout, torch.functional.split} | _named(
    *(
        "cat",
        "chunk",
        "contiguous",
        "expand",
        "expand_as",
        "flatten",
        "permute",
        "repeat_interleave",
        "reshape",
    ),
    *("split", "squeeze", "stack", "to", "transpose", "type_as", "unbind", "unflatten", "unsqueeze", "view"),
    "__getitem__",
)
_ADDITIONS = _named("add", "__add__", "__radd__", "__iadd__")
_PRODUCTS = _named("mul", "__mul__", "__rmul__", "div", "__truediv__")
_SUMS = _named("mean", "sum")

_Share = Callable[[Tensor, Sequence[Tensor], Tensor], Sequence[Tensor]]
"""(output, inputs, relevance of the output) → relevance of each input."""


def attended(
    vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet, first: int, gradients: bool
) -> Iterator[Attended]:
    """Yield what reaches the attention of the last block, of the one before, … down to block `first`.

    Args:
        vit: a plain timm ViT in eval mode, in whose precision are ∇A and the products of linear layers.
        exact: what passes relevance on: the model itself, or its copy in float64.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.
        first: index of the lowest block.
        gradients: whether ∇A is asked for.

    Raises:
        ValueError: if the model uses an operation that has no rule, or gives NaN or infinity.

    Example:
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5)
        >>> [flow.relevance.shape for flow in attended(vit, vit, torch.rand(1, 3, 28, 28), None, TRANSFORMER, 1, False)]
        [torch.Size([1, 3, 5, 5])]
    """
    blocks = range(first, len(vit.blocks))
    dtype = next(vit.parameters()).dtype
    rules = _in(dtype, rules)
    passed = _propagate(exact, images, target, rules, blocks, _begin_at_block(exact, first))
    of_logit = attention_gradients(vit, images.to(dtype), passed.classes, blocks)[1] if gradients else []
    for block in reversed(blocks):
        relevance = torch.cat(passed.attention.pop(block), dim=1).to(dtype)
        yield Attended(relevance, of_logit.pop() if gradients else None)


def patch_relevance(vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet) -> Tensor:
    """Return the relevance of the patches as they leave the patch embedding, [B, hw, D], in the dtype of `exact`.

    Args:
        vit: a plain timm ViT in eval mode whose patch embedding is timm's PatchEmbed, in whose precision are the
            products of linear layers.
        exact: what passes relevance on: the model itself, or its copy in float64.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.

    Raises:
        ValueError: if the model uses an operation that has no rule, or gives NaN or infinity.

    Example:
        >>> from salvit.lrp.rules import ORIGINAL
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5)
        >>> patch_relevance(vit, vit, torch.rand(1, 3, 28, 28), None, ORIGINAL).shape
        torch.Size([1, 4, 192])
    """
    rules = _in(next(vit.parameters()).dtype, rules)
    relevance = _propagate(exact, images, target, rules, range(0), _begin_at_patches(exact)).beginning
    return relevance.reshape(len(images), -1, relevance.shape[-1])


def _in(dtype: torch.dtype, rules: RuleSet) -> RuleSet:
    """The same rules, linear layers' products computed in a dtype: they are what takes the time."""

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, relevance: Tensor) -> Tensor:
        shift = None if bias is None else bias.to(dtype)
        shared = rules.linear(x.to(dtype), weight.to(dtype), shift, output.to(dtype), relevance.to(dtype))
        return shared.to(output.dtype)

    return replace(rules, linear=linear)


class _Passed(NamedTuple):
    """What a backward pass leaves behind: R where the graph begins, R_A of each block, and the classes."""

    beginning: Tensor
    attention: dict[int, list[Tensor]]
    classes: Tensor


def _propagate(
    vit: ViT,
    images: Tensor,
    target: Tensor | None,
    rules: RuleSet,
    blocks: range,
    beginning: AbstractContextManager[list[Tensor]],
) -> _Passed:
    mode = _RelevanceMode(rules)
    with torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(fused_attention(vit))
        begun = stack.enter_context(beginning)
        for block in blocks:
            for module in attention_modules(vit, block):
                stack.callback(module.register_forward_pre_hook(mode.enter(block)).remove)
                stack.callback(module.register_forward_hook(mode.leave()).remove)
        with mode:
            logits = vit(outside_graph(images))
    require_finite(logits)
    if not _has_tokens([logits]):
        raise ValueError(f"LRP cannot follow tokens to the logits of this {type(vit).__name__}")
    classes = logits.argmax(-1) if target is None else target
    seed = F.one_hot(classes, logits.shape[-1]).to(logits.dtype)
    [relevance] = torch.autograd.grad(logits, begun, seed)
    return _Passed(relevance, mode.attention, classes)


@contextmanager
def _begin_at_block(vit: ViT, block: int) -> Iterator[list[Tensor]]:
    """Let the graph begin at a block's input, which is yielded in a list."""
    begun: list[Tensor] = []

    def begin(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        begun[:] = [_tokens(args[0].detach().requires_grad_())]
        return (begun[0], *args[1:])

    handle = vit.blocks[block].register_forward_pre_hook(in_this_thread(begin))
    try:
        yield begun
    finally:
        handle.remove()


@contextmanager
def _begin_at_patches(vit: ViT) -> Iterator[list[Tensor]]:
    """Let the graph begin at the patch embedding's output, which is yielded in a list."""
    begun: list[Tensor] = []

    def begin(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        begun[:] = [_tokens(output.detach().requires_grad_())]
        return begun[0]

    handle = vit.patch_embed.register_forward_hook(in_this_thread(begin))
    try:
        yield begun
    finally:
        handle.remove()


class _RelevanceMode(TorchFunctionMode):
    """Answers operations on tokens by those whose backward pass is the relevance rule.

    Attributes:
        attention: R_A of each block's attentions, once the backward pass is done.
    """

    def __init__(self, rules: RuleSet) -> None:
        super().__init__()
        self.rules = rules
        self.attention: dict[int, list[Tensor]] = {}
        self.block: int | None = None

    def enter(self, block: int) -> Callable[..., Any]:
        """Return the hook to call before a block's attention."""

        def hook(module: nn.Module, args: Any) -> None:
            self.block = block

        return in_this_thread(hook)

    def leave(self) -> Callable[..., Any]:
        """Return the hook to call after a block's attention."""

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self.block = None

        return in_this_thread(hook)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer what has a rule, pass on what only moves tokens about, and refuse the rest."""
        kwargs = kwargs or {}
        if not _has_tokens([*args, *kwargs.values()]):
            return func(*args, **kwargs)
        if func in _MOVED:
            output = func(*args, **kwargs)
            # A constant that takes the dtype or shape of tokens (`x.to(tokens)`) is none of them.
            return _tokens(output) if _has_tokens(args[:1] or [*kwargs.values()]) else output
        if func in _PASSED_ON:
            return _share(lambda x: func(x, *args[1:], **kwargs), _pass_on, args[0])
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func in _ADDITIONS:
            return self._add(*args, **kwargs)
        if func in _PRODUCTS:
            return _multiply(func, *args, **kwargs)
        if func in _SUMS:
            return _sum(func, *args, **kwargs)
        output = None if func is torch.Tensor.__setitem__ else func(*args, **kwargs)
        if output is None or _has_numbers(output):  # None of what changes a token in place
            raise ValueError(
                f"LRP has no relevance rule for {resolve_name(func) or func}, which this model uses"
            )
        return output

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        def share(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return [self.rules.linear(inputs[0], weight, bias, output, relevance)]

        return _share(lambda x: F.linear(x, weight, bias), share, x)

    def _add(self, left: Any, right: Any) -> Tensor:
        # The queries' and keys' sums are rotations (RoPE), linear in what is rotated: nothing is to be rescaled.
        rule = add_plain if left.ndim == 4 else self.rules.add

        def share(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return rule(inputs[0], inputs[-1], output, relevance)

        def share_with(constant: Tensor) -> _Share:
            return lambda output, inputs, relevance: rule(
                inputs[0], constant.expand_as(output), output, relevance
            )[:1]

        if _has_tokens([left]) and _has_tokens([right]):
            return _share(torch.add, share, left, right)
        tokens, constant = (left, right) if _has_tokens([left]) else (right, left)
        is_bias = not isinstance(constant, Tensor) or constant.ndim < 2
        return _share(lambda x: x + constant, _pass_on if is_bias else share_with(constant.detach()), tokens)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        if dropout_p or is_causal:
            raise ValueError("LRP has no relevance rule for attention that drops or hides keys")
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        found: list[Tensor] = [] if self.block is None else self.attention.setdefault(self.block, [])
        place = len(found)
        found.append(query)  # until the backward pass comes by

        def scores(query: Tensor, key: Tensor) -> Tensor:
            return masked((query * scale) @ key.mT, attn_mask)

        def share(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            query, key, value = inputs
            before = scores(query, key)
            of_attention, of_value = bilinear(before.softmax(-1), value.mT, divide(relevance, output))
            found[place] = of_attention
            # The rule is for unscaled products: with a scaled stabiliser it gives the same on scaled ones. What a
            # position bias adds to a score takes its share of the score's relevance along.
            of_score = divide(of_attention, before, STABILIZER * scale)
            return *bilinear(query * scale, key, of_score), of_value.mT

        return _share(lambda q, k, v: scores(q, k).softmax(-1) @ v, share, query, key, value)


def _multiply(func: Any, left: Any, right: Any) -> Tensor:
    """A factor without tokens passes relevance on; two with tokens take half each."""

    def halves(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        half = torch.where(output == 0, 0, relevance / 2)
        return half, half

    if _has_tokens([left]) and _has_tokens([right]):
        return _share(func, halves, left, right)
    if _has_tokens([left]):
        return _share(lambda x: func(x, right), _pass_on, left)
    return _share(lambda x: func(left, x), _pass_on, right)


def _sum(func: Any, x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """A sum or mean shares relevance among what it adds up, as `rules.average` does."""

    def share(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        relevance = relevance if keepdim else relevance.unsqueeze(dim)
        return [inputs[0] * divide(relevance, inputs[0].sum(dim, keepdim=True))]

    return _share(lambda x: func(x, dim, keepdim=keepdim), share, x)


def _pass_on(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    return [relevance]


def _tokens(value: Any) -> Any:
    """Mark tensors, one or a list of them, as computed from where the graph begins.

    Whether they require a gradient does not tell: a model that is to be trained has parameters that do.
    """
    for tensor in value if isinstance(value, list | tuple) else [value]:
        tensor.salvit_token = True
    return value


def _has_tokens(values: Sequence[Any]) -> bool:
    return any(
        _has_tokens(value) if isinstance(value, list | tuple) else hasattr(value, "salvit_token")
        for value in values
    )


def _has_numbers(output: Any) -> bool:
    if isinstance(output, list | tuple):
        return any(map(_has_numbers, output))
    return isinstance(output, Tensor) and output.is_floating_point()


def _share(compute: Callable[..., Tensor], share: _Share, *inputs: Tensor) -> Tensor:
    output: Tensor = _tokens(_Rule.apply(compute, share, *inputs))
    return output


class _Rule(torch.autograd.Function):
    """An operation whose derivative is its relevance rule."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Tensor], share: _Share, *inputs: Tensor) -> Tensor:
        output = compute(*inputs)
        ctx.save_for_backward(output, *inputs)
        ctx.share = share
        return output

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        output, *inputs = ctx.saved_tensors
        return None, None, *ctx.share(output, inputs, relevance[0])
