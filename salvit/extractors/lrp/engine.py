"""The engine of every LRP method: the model runs as timm wrote it, and relevance flows back over a tape of operations.

A `TorchFunctionMode` writes down each operation that meets a token, with the rule that shares its relevance. The
gradient of the logit flows back beside the relevance where a method asks for it, so that both use one forward pass.
Rows of tokens that nothing flows to, as all but the class token's in the last block, are left out of the products.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from salvit.errors import InvalidValueError
from salvit.extractors.lrp.rules import STABILIZER, RuleSet, add_plain, bilinear, divide
from salvit.extractors.recording import masked
from salvit.vit import ViT, fused_attention


class Flow(NamedTuple):
    """The relevance of a tensor and its gradient (None if not asked for), both of the tensor's shape."""

    relevance: Tensor
    gradient: Tensor | None


def attended(
    vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet, first: int, gradients: bool
) -> Iterator[Flow]:
    """Yield relevance and gradient of the attention [B, heads, N, N] of the last block, the one before, … `first`.

    Args:
        vit: a plain timm ViT in eval mode, in whose precision relevance flows.
        exact: the model of the forward pass: `vit`, or its copy in float64.
        images: [B, 3, H, W], normalised for the model, of the dtype of `exact`.
        target: int64 [B], or None for the predicted classes.
        rules: how linear layers and additions share relevance.
        first: index of the lowest block.
        gradients: whether ∇A is asked for.

    Raises:
        ValueError: if the model uses an operation that has no rule, or gives NaN or infinity.

    Example:
        >>> from salvit.extractors.lrp.rules import TRANSFORMER
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5)
        >>> [flow.relevance.shape for flow in attended(vit, vit, torch.rand(1, 3, 28, 28), None, TRANSFORMER, 1, False)]
        [torch.Size([1, 3, 5, 5])]
    """
    tape = _Tape(rules, next(vit.parameters()).dtype, gradients)
    block = exact.blocks[first]
    with block.register_forward_pre_hook(lambda _, args: (tape.begin(args[0]), *args[1:])):
        logits = tape.run(exact, images)
    lowest = next(index for index, step in enumerate(tape.steps) if step.block is not None)
    del tape.steps[:lowest]  # nothing is asked about what is below the first attention
    yield from tape.explain(logits, target)


def patch_relevance(vit: ViT, exact: ViT, images: Tensor, target: Tensor | None, rules: RuleSet) -> Tensor:
    """Return the relevance of the patches as they leave the patch embedding, [B, hw, D], in the dtype of `exact`.

    Arguments and errors are those of `attended`; the model has timm's PatchEmbed.

    Example:
        >>> from salvit.extractors.lrp.rules import ORIGINAL
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("eva02_tiny_patch14_224", pretrained=False, img_size=28, depth=2, num_classes=5)
        >>> patch_relevance(vit, vit, torch.rand(1, 3, 28, 28), None, ORIGINAL).shape
        torch.Size([1, 4, 192])
    """
    tape = _Tape(rules, next(vit.parameters()).dtype, gradients=False)
    with exact.patch_embed.register_forward_hook(lambda *args: tape.begin(args[-1])):
        logits = tape.run(exact, images)
    for _ in tape.explain(logits, target):
        pass
    relevance = tape.beginning.to(images.dtype)
    return relevance.reshape(len(images), -1, relevance.shape[-1])


_Share = Callable[[Tensor, Sequence[Tensor], Tensor], Sequence[Tensor]]
"""(output, inputs that are tokens, relevance of the output) → relevance of each input."""


class _Step(NamedTuple):
    """An operation: numbers of the tensors that entered and left it, and how flows go back from output to input."""

    inputs: list[int | None]
    outputs: list[int]
    back: Callable[[list[Flow | None]], Sequence[Flow | None]]
    block: int | None = None  # of an attention


def _named(names: str) -> set[Any]:
    """Functions of torch and methods of its tensors by name."""
    places = (torch, torch.Tensor)
    return {getattr(place, name) for place in places for name in names.split() if hasattr(place, name)}


_PASSED_ON = {F.layer_norm, F.rms_norm, F.gelu, F.silu, F.relu} | _named("sigmoid tanh neg __neg__")
_SPLITS = {torch.functional.split} | _named("chunk split unbind")
_MOVED = {F.dropout} | _SPLITS
_MOVED |= _named("__getitem__ cat contiguous expand expand_as flatten permute repeat_interleave reshape")
_MOVED |= _named("squeeze stack to transpose type_as unflatten unsqueeze view")
_ADDITIONS = _named("add __add__ __radd__ __iadd__")
_PRODUCTS = _named("mul __mul__ __rmul__ div __truediv__")
_MATMULS = _named("matmul __matmul__")
_SUMS = _named("mean sum")


class _Tape(TorchFunctionMode):
    """Writes down the operations on tokens while the model runs, and carries relevance back over them."""

    beginning: Tensor

    def __init__(self, rules: RuleSet, dtype: torch.dtype, gradients: bool) -> None:
        super().__init__()
        self.rules = rules
        self.dtype = dtype
        self.gradients = gradients
        self.steps: list[_Step] = []
        self.block: int | None = None
        self.numbers = 0
        self.used: set[int] = set()
        self.copied: dict[int, Tensor] = {}
        self.found: list[Flow] = []
        self.sparse = True

    def begin(self, tokens: Tensor) -> Tensor:
        """Return the tensor as the first of the tokens that are followed."""
        self.steps.clear()
        return self._number(tokens.detach())

    def run(self, vit: ViT, images: Tensor) -> Tensor:
        """Run the model, and return its logits."""

        def at(index: int | None, *_: Any) -> None:
            self.block = index

        with ExitStack() as stack:
            for index, block in enumerate(vit.blocks):
                stack.enter_context(block.register_forward_pre_hook(partial(at, index)))
                stack.enter_context(block.register_forward_hook(partial(at, None)))
            stack.enter_context(fused_attention(vit))
            with self:
                logits: Tensor = vit(images)
        if not logits.isfinite().all():
            raise InvalidValueError(
                "the model gives NaN or infinity: weights are damaged, or activations overflow"
            )
        if not _has_tokens([logits]):
            raise InvalidValueError(f"LRP cannot follow tokens to the logits of this {type(vit).__name__}")
        return logits

    def _number(self, output: Any) -> Any:
        """Mark tensors, one or several, as tokens: by a number, under which what flows back to them is kept."""
        for tensor in output if isinstance(output, list | tuple) else [output]:
            self.numbers += 1
            tensor.salvit_token = self.numbers
        return output

    def _write(
        self, inputs: Sequence[Any], output: Any, back: Callable[..., Any], block: int | None = None
    ) -> Any:
        self._number(output)
        numbers: list[int | None] = [getattr(tensor, "salvit_token", None) for tensor in inputs]
        for number, tensor in zip(numbers, inputs, strict=True):
            if number in self.used:
                self.copied[number] = tensor
            elif number is not None:
                self.used.add(number)
        outputs = output if isinstance(output, list | tuple) else [output]
        self.steps.append(_Step(numbers, [one.salvit_token for one in outputs], back, block))
        return output

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Write down what has a rule, and refuse the rest."""
        kwargs = kwargs or {}
        if not _has_tokens([*args, *kwargs.values()]):
            return func(*args, **kwargs)
        if func in _MOVED:
            if not _has_tokens(args[:1] or [*kwargs.values()]):  # `x.to(tokens)` makes no token of a constant
                return func(*args, **kwargs)
            output = self._follow(func, args, kwargs, None)
            # One token is read, as if copied.
            if func is torch.Tensor.__getitem__ and output.ndim < args[0].ndim:
                self.copied[args[0].salvit_token] = args[0]
            return output
        if func in _PASSED_ON:
            return self._follow(func, args, kwargs, _pass_on)
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func in _MATMULS and not _has_tokens(args[1:]) and [part.ndim for part in args[1:]] == [2]:
            return self._linear(args[0], args[1].mT)  # x @ A.T, as many adapters are written
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func in _ADDITIONS:
            return self._add(*args, **kwargs)
        if func in _PRODUCTS:
            both = _has_tokens(args[:1]) and _has_tokens(args[1:])
            return self._follow(func, args, kwargs, _halve if both else _pass_on)
        if func in _SUMS:
            return self._sum(func, *args, **kwargs)
        changes = func is torch.Tensor.__setitem__  # a token in place
        output = None if changes else func(*args, **kwargs)
        results = output if isinstance(output, list | tuple) else [output]
        if changes or any(isinstance(one, Tensor) and one.is_floating_point() for one in results):
            raise InvalidValueError(
                f"LRP has no relevance rule for {resolve_name(func) or func}, which this model uses"
            )
        return output

    def _follow(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], share: _Share | None) -> Any:
        """Write down an operation whose gradient autograd knows; R is shared by a rule, or as the gradient is."""
        needs_graph = share is None or self.gradients
        inputs: list[Tensor] = []
        leaves: list[Tensor] = []

        def leaf(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(leaf, value))
            if not hasattr(value, "salvit_token"):
                return value
            inputs.append(value)
            leaves.append(value.detach().requires_grad_(needs_graph))
            return leaves[-1]

        with torch.set_grad_enabled(needs_graph):
            result = func(*map(leaf, args), **{name: leaf(value) for name, value in kwargs.items()})
        results = result if isinstance(result, list | tuple) else [result]
        outputs = [one.detach() for one in results]
        values = [outputs[0], *(one.detach() for one in leaves)]

        def pull(flows: list[Tensor | None]) -> Sequence[Tensor | None]:
            # Into one tensor of the input's strides, so that no permuted tensor is copied again.
            if func in _SPLITS:
                whole = torch.empty_like(leaves[0], dtype=self.dtype, requires_grad=False)
                for part, flow in zip(func(whole, *args[1:], **kwargs), flows, strict=True):
                    part.zero_() if flow is None else part.copy_(flow)
                return [whole]
            reached = [
                (one, flow.to(one.dtype))
                for one, flow in zip(results, flows, strict=True)
                if flow is not None
            ]
            ends, given = zip(*reached, strict=True)
            found = torch.autograd.grad(ends, leaves, given, retain_graph=True, allow_unused=True)
            return [None if one is None else one.to(self.dtype) for one in found]

        def back(flows: list[Flow | None]) -> Sequence[Flow | None]:
            relevance: Sequence[Tensor | None]
            if share is None:
                relevance = pull([flow and flow.relevance for flow in flows])
            else:
                [flow] = flows
                assert flow is not None
                output, *entered = (one.to(self.dtype) for one in values)
                shared = share(output, entered, flow.relevance)
                relevance = [part.sum_to_size(x.shape) for part, x in zip(shared, entered, strict=True)]
            gradients: Sequence[Tensor | None] = [None] * len(leaves)
            if self.gradients:
                gradients = pull([flow and flow.gradient for flow in flows])
            return [
                one if one is None else Flow(one, of) for one, of in zip(relevance, gradients, strict=True)
            ]

        return self._write(inputs, outputs if isinstance(result, list | tuple) else outputs[0], back)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            output = F.linear(x, weight, bias)
        kept, left = x.detach(), output.detach()

        def back(flows: list[Flow]) -> list[Flow]:
            rows, [flow] = self._rows(flows[0]), flows
            entered, leaving, relevance = (
                _take(one, rows).to(self.dtype) for one in (kept, left, flow.relevance)
            )
            matrix = weight.detach().to(self.dtype)
            shift = None if bias is None else bias.detach().to(self.dtype)
            shared = _put(self.rules.linear(entered, matrix, shift, leaving, relevance), rows, kept.shape)
            if flow.gradient is None:
                return [Flow(shared, None)]
            return [Flow(shared, _put(_take(flow.gradient, rows) @ matrix, rows, kept.shape))]

        return self._write([x], output, back)

    def _add(self, left: Any, right: Any) -> Tensor:
        # The queries' and keys' sums are rotations (RoPE), linear in what is rotated: nothing is to be rescaled.
        rule = add_plain if left.ndim == 4 else self.rules.add
        tokens, other = (left, right) if _has_tokens([left]) else (right, left)
        both = _has_tokens([other])

        def share(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            summand = inputs[1] if both else other.detach().to(self.dtype).expand_as(output)
            return rule(inputs[0], summand, output, relevance)[: len(inputs)]

        bias = not both and (not isinstance(other, Tensor) or other.ndim < 2)
        return self._follow(torch.add, (tokens, other), {}, _pass_on if bias else share)

    def _sum(self, func: Any, x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
        def share(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            relevance = relevance if keepdim else relevance.unsqueeze(dim)
            return [inputs[0] * divide(relevance, inputs[0].sum(dim, keepdim=True))]

        return self._follow(func, (x, dim), {"keepdim": keepdim}, share)

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
            raise InvalidValueError("LRP has no relevance rule for attention with dropout or a causal mask")
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        with torch.no_grad():
            output = F.scaled_dot_product_attention(query, key, value, attn_mask, scale=scale)
        entered, left, block = (query.detach(), key.detach(), value.detach()), output.detach(), self.block

        def back(flows: list[Flow]) -> Sequence[Flow | None]:
            rows, [flow] = self._rows(flows[0]), flows
            query, key, value = entered
            mask = None if attn_mask is None else _take(attn_mask.detach(), rows)
            queries = _take(query, rows) * scale
            # Scores keep the digits of the forward pass; all that follows is in the precision of the flow.
            before = masked(queries @ key.mT, mask).to(self.dtype)
            # Contiguous, because each product of a strided view would copy it anew.
            queries, key, value = (part.to(self.dtype).contiguous() for part in (queries, key, value))
            attention = before.softmax(-1)
            share = divide(_take(flow.relevance, rows), _take(left, rows).to(self.dtype)).contiguous()
            relevance, of_value = bilinear(attention, value.mT, share)
            mixed = None if flow.gradient is None else _take(flow.gradient, rows).contiguous()
            gradient = None if mixed is None else mixed @ value.mT
            if block is not None:
                shape = (*before.shape[:-2], query.shape[-2], before.shape[-1])
                whole = None if gradient is None else _put(gradient, rows, shape)
                self.found.append(Flow(_put(relevance, rows, shape), whole))
            if not self.steps:
                return [None, None, None]
            # The rule is for unscaled products: with a scaled stabiliser it gives the same on scaled ones. What a
            # position bias adds to a score takes its share of the score's relevance along.
            of_query, of_key = bilinear(queries, key, divide(relevance, before, STABILIZER * scale))
            shared = (_put(of_query, rows, query.shape), of_key, of_value.mT)
            if gradient is None or mixed is None:
                return [Flow(one, None) for one in shared]
            of_scores = attention * (gradient - (gradient * attention).sum(-1, keepdim=True))
            pulled = (
                _put((of_scores @ key).mul_(scale), rows, query.shape),
                of_scores.mT @ queries,
                attention.mT @ mixed,
            )
            return [Flow(*pair) for pair in zip(shared, pulled, strict=True)]

        return self._write([query, key, value], output, back, block)

    def explain(self, logits: Tensor, target: Tensor | None) -> Iterator[Flow]:
        """Carry relevance 1 back from each image's logit; yield what reaches each block's attention, the last first."""
        classes = logits.argmax(-1) if target is None else target
        seed = F.one_hot(classes, logits.shape[-1]).to(self.dtype)
        return self.sweep(logits, seed)

    def sweep(self, output: Tensor, relevance: Tensor) -> Iterator[Flow]:
        """Carry relevance, and the same as a gradient, back from any output."""
        end: Any = output
        flows: dict[int, Flow] = {end.salvit_token: Flow(relevance, relevance if self.gradients else None)}
        blocks = [step.block for step in self.steps]
        while self.steps:
            step = self.steps.pop()
            leaving = [self._joined(number, flows.pop(number, None)) for number in step.outputs]
            if any(flow is not None for flow in leaving):
                for entered, flow in zip(step.inputs, step.back(leaving), strict=True):
                    if entered is not None and flow is not None:
                        flows[entered] = _plus(flows[entered], flow) if entered in flows else flow
            if step.block is not None and len(self.found) == blocks.count(step.block):
                parts, self.found = self.found[::-1], []
                yield parts[0] if len(parts) == 1 else _side_by_side(parts)
        if flows:
            self.beginning = next(iter(flows.values())).relevance

    def _rows(self, flow: Flow) -> Tensor | None:
        """Indices of the tokens that anything flows to, or None for all, as in every block below the last."""
        if not self.sparse or flow.relevance.ndim < 3:
            return None
        if flow.relevance.shape[-2] == 1 or bool(flow.relevance[..., -1, :].any()):
            self.sparse = False
            return None
        others = [axis for axis in range(flow.relevance.ndim) if axis != flow.relevance.ndim - 2]
        reached = flow.relevance.abs().amax(others)
        if flow.gradient is not None:
            reached = reached + flow.gradient.abs().amax(others)
        return reached.nonzero()[:, 0]

    def _joined(self, number: int, flow: Flow | None) -> Flow | None:
        """The relevances of copies of an activation x are joined as x ⊙ (sd(R₁, x) + sd(R₂, x))."""
        x = self.copied.pop(number, None)
        if x is None or flow is None:
            return flow
        x = x.to(self.dtype)
        return flow._replace(relevance=(flow.relevance * x).div_(x + STABILIZER).nan_to_num_(0, 0, 0))


def _plus(one: Flow, other: Flow) -> Flow:
    gradient = None if one.gradient is None or other.gradient is None else one.gradient + other.gradient
    return Flow(one.relevance + other.relevance, gradient)


def _side_by_side(parts: list[Flow]) -> Flow:
    """The heads of a block's attentions, one after the other."""
    relevance, gradients = zip(*parts, strict=True)
    return Flow(torch.cat(relevance, 1), None if gradients[0] is None else torch.cat(gradients, 1))


def _take(tensor: Tensor, rows: Tensor | None) -> Tensor:
    """Some rows of a tensor [..., N, D], or all."""
    return tensor if rows is None or tensor.shape[-2] == 1 else tensor.index_select(-2, rows)


def _put(tensor: Tensor, rows: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Undo `_take`, with zeros elsewhere."""
    return tensor if rows is None else tensor.new_zeros(shape).index_copy_(-2, rows, tensor)


def _pass_on(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    return [relevance]


def _halve(output: Tensor, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    half = torch.where(output == 0, 0, relevance / 2)
    return half, half


def _has_tokens(values: Sequence[Any]) -> bool:
    """Whether any of some values is a token, or a list that holds one."""
    return any(
        _has_tokens(value) if isinstance(value, list | tuple) else hasattr(value, "salvit_token")
        for value in values
    )
