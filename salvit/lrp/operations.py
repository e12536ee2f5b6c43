"""Operations on tokens, each answered by one whose derivative is its relevance rule."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from salvit.hooks import in_this_thread
from salvit.lrp.rules import STABILIZER, RuleSet, add_plain, bilinear, divide
from salvit.recording import masked


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
_MATMULS = _named("matmul", "__matmul__")
_SUMS = _named("mean", "sum")

_Share = Callable[[Tensor, Sequence[Tensor], Tensor], Sequence[Tensor]]
"""(output, inputs, relevance of the output) → relevance of each input."""


class RelevanceMode(TorchFunctionMode):
    """Answers operations on tokens by those whose backward pass is the relevance rule.

    Args:
        rules: how linear layers and additions share relevance.

    Attributes:
        attention: R_A of each block's attentions, once the backward pass is done.
    """

    def __init__(self, rules: RuleSet) -> None:
        super().__init__()
        self.rules = rules
        self.attention: dict[int, list[Tensor]] = {}
        self.block: int | None = None

    def enter(self, block: int) -> Callable[..., Any]:
        """Return the hook to call before a block's attention.

        Args:
            block: its index.
        """

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
        if not has_tokens([*args, *kwargs.values()]):
            return func(*args, **kwargs)
        if func in _MOVED:
            output = func(*args, **kwargs)
            # A constant that takes the dtype or shape of tokens (`x.to(tokens)`) is none of them.
            return as_tokens(output) if has_tokens(args[:1] or [*kwargs.values()]) else output
        if func in _PASSED_ON:
            return _share(lambda x: func(x, *args[1:], **kwargs), _pass_on, args[0])
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func in _MATMULS and _is_matrix(*args[1:]):  # x @ A.T, as many adapters are written
            return self._linear(args[0], args[1].mT)
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

        if has_tokens([left]) and has_tokens([right]):
            return _share(torch.add, share, left, right)
        tokens, constant = (left, right) if has_tokens([left]) else (right, left)
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

    if has_tokens([left]) and has_tokens([right]):
        return _share(func, halves, left, right)
    if has_tokens([left]):
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


def as_tokens(value: Any) -> Any:
    """Mark tensors, one or a list of them, as computed from where the graph begins.

    Whether they require a gradient does not tell: a model that is to be trained has parameters that do.

    Args:
        value: a tensor, a list or a tuple of them.

    Returns:
        The same value.
    """
    for tensor in value if isinstance(value, list | tuple) else [value]:
        tensor.salvit_token = True
    return value


def has_tokens(values: Sequence[Any]) -> bool:
    """Return whether any of some values is marked so, or a list that holds one that is.

    Args:
        values: arguments of an operation.
    """
    return any(
        has_tokens(value) if isinstance(value, list | tuple) else hasattr(value, "salvit_token")
        for value in values
    )


def _is_matrix(value: Any = None) -> bool:
    """Whether it is a matrix of constants."""
    return isinstance(value, Tensor) and value.ndim == 2 and not has_tokens([value])


def _has_numbers(output: Any) -> bool:
    if isinstance(output, list | tuple):
        return any(map(_has_numbers, output))
    return isinstance(output, Tensor) and output.is_floating_point()


def _share(compute: Callable[..., Tensor], share: _Share, *inputs: Tensor) -> Tensor:
    output: Tensor = as_tokens(_Rule.apply(compute, share, *inputs))
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
