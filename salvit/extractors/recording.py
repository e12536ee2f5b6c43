"""Recording from an unmodified timm ViT while it runs: inputs and outputs of modules, and attention maps.

timm's blocks call the fused `scaled_dot_product_attention`, which never forms the attention matrix. While a
recording is active, a `TorchFunctionMode` answers that call with explicit attention in the recorded blocks; all
others keep the fused kernel. Models built without fused attention call softmax, which the same mode reads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from salvit.errors import InvalidValueError
from salvit.vit import (
    ViT,
    attention_modules,
    block_indices,
    has_class_token,
    require_attention_maps,
    require_frozen_vit,
)

_Maps = TypeVar("_Maps")
_FUSED = F.scaled_dot_product_attention
_SOFTMAX = frozenset({torch.softmax, torch.Tensor.softmax, F.softmax, torch.special.softmax})


@contextmanager
def inputs_of(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Yield a dict that keeps the first input of each module's latest call, as part of the graph where there is one.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> with inputs_of([layer]) as inputs:
        ...     _ = layer(torch.zeros(1, 2))
        >>> inputs[layer]
        tensor([[0., 0.]])
    """
    inputs: dict[nn.Module, Tensor] = {}
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_pre_hook(lambda module, args: inputs.update({module: args[0]}))
            stack.enter_context(hook)
        yield inputs


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Yield a dict that keeps the output of each module's latest call, as part of the graph where there is one."""
    outputs: dict[nn.Module, Tensor] = {}
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_hook(lambda module, args, output: outputs.update({module: output}))
            stack.enter_context(hook)
        yield outputs


class BlockMaps(dict[int, _Maps]):
    """What was recorded, by block index; a negative index counts from the last block, as in a list."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth

    def __missing__(self, block: int) -> _Maps:
        """Resolve a negative index, or say which blocks there are."""
        if block < 0 and block + self.depth in self:
            return self[block + self.depth]
        raise KeyError(f"block {block} was not recorded; recorded blocks: {sorted(self) or 'none yet'}")


class Recording:
    """Results of the latest forward pass, by block; heads of attentions side by side are put one after the other.

    Attributes:
        attention: after the softmax, [B, heads, N, N] (or [B, heads, 1, N] with `rows="class"`), rows summing to 1;
            float32, or float64 for a float64 model, also under autocast.
        scores: scaled scores before the softmax, with bias and mask; same shape and dtype. Empty unless asked for.
        values: [B, heads, N, head width], in the model's dtype. Empty unless asked for.
        keys: as values, after any normalisation and rotation. Empty unless asked for.
    """

    def __init__(self, depth: int) -> None:
        self.attention = BlockMaps[Tensor](depth)
        self.scores = BlockMaps[Tensor](depth)
        self.values = BlockMaps[Tensor](depth)
        self.keys = BlockMaps[Tensor](depth)
        self._graph = BlockMaps[list[Tensor]](depth)

    def gradients(self, output: Tensor, blocks: Iterable[int]) -> list[Tensor]:
        """Return the gradients of an output with respect to the attention of some blocks, each of its shape.

        Args:
            output: a scalar that the model computed while it was recorded, in grad mode and without `reduce`.
            blocks: indices of recorded blocks.

        Raises:
            KeyError: if a block was not recorded.
        """
        # The output was computed from the attentions of a block one by one, not from their concatenation.
        maps = [self._graph[block] for block in blocks]
        gradients = iter(torch.autograd.grad(output, [part for parts in maps for part in parts]))
        return [_side_by_side([next(gradients) for _ in parts]) for parts in maps]


class _Complete(Exception):
    """Every map asked for is recorded, so the rest of the forward pass is not needed."""


@contextmanager
def record(
    vit: ViT,
    blocks: Iterable[int] | None = None,
    *,
    rows: Literal["all", "class"] = "all",
    scores: bool = False,
    values: bool = False,
    keys: bool = False,
    reduce: Callable[[int, Tensor], Tensor] | None = None,
    gradients: bool = False,
    residual_only: bool = False,
    stop: bool = False,
) -> Iterator[Recording]:
    """Record attention maps during every forward pass of `vit` inside the `with` block.

    Logits agree with the fused kernel to rounding. Maps are part of the autograd graph wherever the model's activations
    are. No hook or mode outlives the context. One model belongs to one thread at a time.

    Args:
        vit: a plain timm ViT in eval mode.
        blocks: block indices, negative ones counting from the last; all blocks by default.
        rows: "all" query rows, or only the "class" token's, in which case the block keeps the fused kernel.
        scores: also keep the scores before the softmax.
        values: also keep the values; only of models with fused attention.
        keys: also keep the keys; only of models with fused attention.
        reduce: called with a block's index and its attention; its result is kept instead, to save memory.
        gradients: let the autograd graph begin at the first recorded map; needs `rows="all"` and grad mode.
        residual_only: let no gradient into an attention's input; only of models with fused attention.
        stop: end the forward pass, and the `with` block, as soon as the last of the blocks is recorded.

    Yields:
        The recording.

    Raises:
        TypeError: if the model is not a plain timm ViT, or is compiled.
        IndexError: if there is no such block.
        ValueError: if the model is in training mode, lacks a class token for `rows="class"`, or has attention that is
            differential or not timm's; if gradients are asked for with `rows="class"`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> with record(vit, blocks=[-1]) as recording:
        ...     logits = vit(torch.rand(1, 3, 32, 32))
        >>> recording.attention[-1].shape
        torch.Size([1, 3, 5, 5])
    """
    require_frozen_vit(vit)
    if rows not in ("all", "class"):
        raise InvalidValueError(f'rows must be "class" or "all"; got {rows!r}')
    if rows == "class" and not has_class_token(vit):
        raise InvalidValueError(
            f'a recording of rows="class" needs a class token, and this {type(vit).__name__} has none'
        )
    require_attention_maps(vit, "a recording")
    indices = block_indices(vit, range(len(vit.blocks)) if blocks is None else blocks)
    if gradients and rows == "class":
        raise InvalidValueError(
            'gradients need rows="all": with rows="class" the recorded rows are not the ones used'
        )
    recording = Recording(len(vit.blocks))
    last = max(indices, default=None) if stop else None
    used = slice(0, 1) if rows == "class" else slice(None)
    mode = _AttentionMode(
        recording, type(vit).__name__, used, scores, values, keys, reduce, gradients, residual_only, last
    )
    with ExitStack() as stack:
        for index in dict.fromkeys(indices):
            for handle in mode.watch(index, attention_modules(vit, index), vit.blocks[index]):
                stack.enter_context(handle)
        stack.enter_context(mode)
        with suppress(_Complete):
            yield recording


def read_attention(
    vit: ViT, images: Tensor, blocks: Sequence[int], *, rows: Literal["all", "class"] = "all"
) -> list[Tensor]:
    """Return the attention of some blocks, in their order, without running the model past the last of them.

    Prefix tokens come first, then the patches in row-major order. Arguments, dtypes and errors are those of `record`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> [attention] = read_attention(vit, torch.rand(1, 3, 32, 32), [-1], rows="class")
        >>> attention.shape
        torch.Size([1, 3, 1, 5])
    """
    with record(vit, blocks, rows=rows, stop=True) as recording:
        vit(images)
    return [recording.attention[block] for block in blocks]


@dataclass(eq=False)
class _AttentionMode(TorchFunctionMode):
    """Computes attention explicitly while the attention module of a recorded block is running."""

    recording: Recording
    model: str
    rows: slice
    keep_scores: bool
    keep_values: bool
    keep_keys: bool
    reduce: Callable[[int, Tensor], Tensor] | None
    gradients: bool
    residual_only: bool
    last: int | None
    block: int | None = None
    maps: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def watch(self, block: int, modules: Sequence[nn.Module], whole: nn.Module) -> Iterator[Any]:
        """Register the hooks that tell when the attention of a block is running; yield their handles."""
        for count, module in enumerate(modules, start=1):
            # A block in which MLP and attention are one module reads its input for the residual stream as well.
            cut_off = self.residual_only and module is not whole
            yield module.register_forward_pre_hook(partial(self._enter, block, count == 1, cut_off))
            yield module.register_forward_hook(partial(self._leave, block, count, count == len(modules)))

    def _enter(self, block: int, first: bool, cut_off: bool, module: nn.Module, args: tuple[Any, ...]) -> Any:
        self.block = block
        if first:
            self.maps, self.scores, self.values, self.keys = [], [], [], []
        return tuple(arg.detach() if isinstance(arg, Tensor) else arg for arg in args) if cut_off else None

    def _leave(self, block: int, count: int, last: bool, module: nn.Module, args: Any, output: Any) -> None:
        self.block = None
        if len(self.maps) != count or self.maps[-1].shape[1] != module.num_heads:
            raise InvalidValueError(
                f"block {block} of {self.model} computed {len(self.maps)} attention maps of "
                f"{[attention.shape[1] for attention in self.maps]} heads; {count} of {module.num_heads} heads "
                "were expected: compiled or custom attention cannot be recorded"
            )
        if last:
            self._finish(block)

    def _finish(self, block: int) -> None:
        """Move the maps of the block's attentions, put together, to the recording."""
        maps, self.maps = self.maps, []
        if self.scores:
            self.recording.scores[block] = _side_by_side(self.scores)
        if self.values:
            self.recording.values[block] = _side_by_side(self.values)
        if self.keys:
            self.recording.keys[block] = _side_by_side(self.keys)
        self.scores, self.values, self.keys = [], [], []
        attention = _side_by_side(maps)
        if self.reduce:
            self.recording.attention[block] = self.reduce(block, attention)
        else:
            self.recording.attention[block] = attention
            self.recording._graph[block] = maps if attention.requires_grad else []
        if block == self.last:
            raise _Complete

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer attention calls of a recorded block; pass everything else on."""
        kwargs = kwargs or {}
        if self.block is None:
            return func(*args, **kwargs)
        if func is _FUSED:
            return self._answer_fused(*args, **kwargs)
        output = func(*args, **kwargs)
        if func in _SOFTMAX and self.rows == slice(None):
            return self._keep(args[0], output).to(output.dtype)
        if func in _SOFTMAX:
            self._keep(args[0][..., self.rows, :], output[..., self.rows, :])
        return output

    def _answer_fused(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.residual_only:
            query, key, value = query.detach(), key.detach(), value.detach()
        if self.keep_values:
            self.values.append(value)
        if self.keep_keys:
            self.keys.append(key)
        if self.rows != slice(None):
            self._attend(query, key, *args, **kwargs)
            return _FUSED(query, key, value, *args, **kwargs)
        attention = self._attend(query, key, *args, **kwargs)
        with torch.autocast(value.device.type, enabled=False):
            return (attention @ _at_least_float32(value)).to(value.dtype)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if dropout_p or is_causal or enable_gqa:
            raise InvalidValueError(
                f"dropout, causal or grouped attention of {self.model} cannot be recorded"
            )
        query = query[..., self.rows, :]
        if attn_mask is not None:
            attn_mask = attn_mask[..., self.rows, :]
        # The fused kernels accumulate in float32 whatever their input; a matmul under autocast would not.
        with torch.autocast(query.device.type, enabled=False):
            query, key = _at_least_float32(query), _at_least_float32(key)
            scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
            scores = masked(scores, attn_mask)
            attention = scores.softmax(dim=-1)
        return self._keep(scores, attention)

    def _keep(self, scores: Tensor, attention: Tensor) -> Tensor:
        attention = _at_least_float32(attention)
        if self.gradients and not attention.requires_grad:
            attention.requires_grad_()
        self.maps.append(attention)
        if self.keep_scores:
            self.scores.append(_at_least_float32(scores))
        return attention


def _side_by_side(maps: list[Tensor]) -> Tensor:
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


def masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Apply an attention's mask to scores [..., N, N]: a boolean one keeps entries, any other is added."""
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -torch.inf)
    return scores + mask


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
