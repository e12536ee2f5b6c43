"""Attention maps of an unmodified timm ViT, recorded while it runs.

timm's blocks call the fused `scaled_dot_product_attention`, which never forms the attention matrix. While a
recording is active, a `TorchFunctionMode` answers that call with explicit attention in the blocks that are
recorded; all others keep the fused kernel. Models built without fused attention compute a softmax in the
open, which the same mode reads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from salvit.errors import InvalidValueError
from salvit.extractors.hooks import hooked
from salvit.vit import (
    ViT,
    attention_modules,
    block_indices,
    has_class_token,
    require_attention_maps,
    require_frozen_vit,
)

_FUSED = F.scaled_dot_product_attention
_SOFTMAX = frozenset({torch.softmax, torch.Tensor.softmax, F.softmax, torch.special.softmax})


_Maps = TypeVar("_Maps")


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
    """What the last forward pass left behind.

    Attributes:
        attention: per recorded block the attention after the softmax, [B, heads, N, N] (or [B, heads, 1, N]
            with `rows="class"`), each row summing to 1; float32, or float64 for a float64 model, also under
            autocast.
        scores: per recorded block the scaled scores before the softmax, of the same shape and dtype, any bias
            or mask included; empty unless asked for.
        values: per recorded block the values that its attention mixes, [B, heads, N, head width], in the
            model's dtype; empty unless asked for.

    Where a block has several attentions side by side, their heads are put one after the other.
    """

    def __init__(self, depth: int) -> None:
        self.attention = BlockMaps[Tensor](depth)
        self.scores = BlockMaps[Tensor](depth)
        self.values = BlockMaps[Tensor](depth)
        self._graph = BlockMaps[list[Tensor]](depth)

    def gradients(self, output: Tensor, blocks: Iterable[int]) -> list[Tensor]:
        """Return the gradients of an output with respect to the attention of some blocks.

        Args:
            output: a scalar that the model computed while it was recorded, in grad mode and without `reduce`.
            blocks: indices of recorded blocks, negative ones counting from the last.

        Returns:
            For each block the gradient, of the shape of its attention.

        Raises:
            KeyError: if a block was not recorded.
        """
        # What the output was computed from are the attentions of a block, not their heads put together.
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
    reduce: Callable[[int, Tensor], Tensor] | None = None,
    gradients: bool = False,
    residual_only: bool = False,
    stop: bool = False,
) -> Iterator[Recording]:
    """Record attention maps during every forward pass of `vit` inside the `with` block.

    The model computes what it always does: logits agree with the fused kernel to rounding. Maps are part of
    the autograd graph wherever the model's own activations are. No hook or mode outlives the context, not even after
    an error. One model belongs to one thread at a time.

    Args:
        vit: a plain timm ViT in eval mode.
        blocks: block indices, negative ones counting from the last; all blocks by default.
        rows: "all" query rows, or only the "class" token's, in which case the block keeps the fused kernel.
        scores: also keep the scores before the softmax.
        values: also keep the values; only of models with fused attention.
        reduce: called with a block's index and its attention; what it returns is kept instead, so that a mean
            over heads costs the memory of one head.
        gradients: let the autograd graph begin at the first recorded map, so that gradients with respect to
            the maps exist although no parameter and no image requires one; needs `rows="all"` and grad mode.
        residual_only: let no gradient into an attention's input; only of models with fused attention.
        stop: end the forward pass, and with it the `with` block, as soon as the last of the blocks is
            recorded.

    Yields:
        The recording; it holds the maps of the latest forward pass.

    Raises:
        TypeError: if the model is not a plain timm ViT, or is compiled.
        IndexError: if there is no such block.
        ValueError: if the model is in training mode, has no class token for `rows="class"`, or has attention
            that is differential or not timm's; if gradients are asked for with `rows="class"`.

    Example:
        >>> import torch
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
    mode = _AttentionMode(
        recording, type(vit).__name__, rows == "class", scores, values, reduce, gradients, residual_only, last
    )
    with ExitStack() as stack:
        for index in dict.fromkeys(indices):
            for handle in mode.watch(index, attention_modules(vit, index), vit.blocks[index]):
                stack.enter_context(hooked(handle))
        stack.enter_context(mode)
        try:
            yield recording
        except _Complete as complete:
            if complete.args[0] is not mode:  # an enclosing recording's end, not this one's
                raise


def read_attention(
    vit: ViT, images: Tensor, blocks: Sequence[int], *, rows: Literal["all", "class"] = "all"
) -> list[Tensor]:
    """Return the attention of some blocks without running the model past the last of them.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        blocks: block indices, negative ones counting from the last.
        rows: "all" query rows, or only the "class" token's.

    Returns:
        For each entry of `blocks`, in its order, attention [B, heads, N, N], or [B, heads, 1, N] with
        `rows="class"`; prefix tokens come first, then the patches in row-major order. Dtypes and errors are
        those of `record`.

    Example:
        >>> import torch
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> [attention] = read_attention(vit, torch.rand(1, 3, 32, 32), [-1], rows="class")
        >>> attention.shape
        torch.Size([1, 3, 1, 5])
    """
    with record(vit, blocks, rows=rows, stop=True) as recording:
        vit(images)
    return [recording.attention[block] for block in blocks]


class _AttentionMode(TorchFunctionMode):
    """Computes attention explicitly while the attention module of a recorded block is running."""

    def __init__(
        self,
        recording: Recording,
        model: str,
        class_row: bool,
        scores: bool,
        values: bool,
        reduce: Callable[[int, Tensor], Tensor] | None,
        gradients: bool,
        residual_only: bool,
        last: int | None,
    ) -> None:
        super().__init__()
        self.recording = recording
        self.model = model
        self.rows = slice(0, 1) if class_row else slice(None)
        self.keep_scores = scores
        self.keep_values = values
        self.reduce = reduce
        self.gradients = gradients
        self.residual_only = residual_only
        self.last = last
        self.block: int | None = None
        self.maps: list[Tensor] = []
        self.scores: list[Tensor] = []
        self.values: list[Tensor] = []

    def watch(self, block: int, modules: Sequence[nn.Module], whole: nn.Module) -> Iterator[Any]:
        """Register the hooks that tell when the attention of a block is running; yield their handles."""
        for count, module in enumerate(modules, start=1):
            # A block in which MLP and attention are one module reads its input for the residual stream as well.
            cut_off = self.residual_only and module is not whole
            yield module.register_forward_pre_hook(self._enter(block, count == 1, cut_off))
            yield module.register_forward_hook(self._leave(block, count, count == len(modules)))

    def _enter(self, block: int, first: bool, cut_off: bool) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            self.block = block
            if first:
                self.maps, self.scores, self.values = [], [], []
            if not cut_off:
                return None
            return tuple(arg.detach() if isinstance(arg, Tensor) else arg for arg in args)

        return hook

    def _leave(self, block: int, count: int, last: bool) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self.block = None
            heads: Any = module.num_heads
            self._check(block, count, int(heads))
            if last:
                self._finish(block)

        return hook

    def _check(self, block: int, count: int, heads: int) -> None:
        if len(self.maps) != count or self.maps[-1].shape[1] != heads:
            raise InvalidValueError(
                f"block {block} of {self.model} computed {len(self.maps)} attention maps of "
                f"{[attention.shape[1] for attention in self.maps]} heads; {count} of {heads} heads "
                "were expected: compiled or custom attention cannot be recorded"
            )

    def _finish(self, block: int) -> None:
        """Keep what the block's attentions left behind; what was kept of them one by one is let go."""
        maps, self.maps = self.maps, []
        if self.scores:
            self.recording.scores[block] = _side_by_side(self.scores)
        if self.values:
            self.recording.values[block] = _side_by_side(self.values)
        self.scores, self.values = [], []
        attention = _side_by_side(maps)
        if self.reduce:
            self.recording.attention[block] = self.reduce(block, attention)
        else:
            self.recording.attention[block] = attention
            self.recording._graph[block] = maps if attention.requires_grad else []
        if block == self.last:
            raise _Complete(self)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer attention calls of a recorded block; pass everything else on."""
        kwargs = kwargs or {}
        if self.block is None:
            return func(*args, **kwargs)
        if func is _FUSED:
            return self._answer_fused(*args, **kwargs)
        output = func(*args, **kwargs)
        if func in _SOFTMAX:
            return self._keep_softmax(args[0], output)
        return output

    def _keep_softmax(self, scores: Tensor, attention: Tensor) -> Tensor:
        if self.rows != slice(None):
            self._keep(scores[..., self.rows, :], attention[..., self.rows, :])
            return attention
        return self._keep(scores, attention).to(attention.dtype)

    def _answer_fused(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.residual_only:
            query, key, value = query.detach(), key.detach(), value.detach()
        if self.keep_values:
            self.values.append(value)
        if self.rows != slice(None):
            # Beside what the model computes, so not for a recording around this one to see.
            with torch._C.DisableTorchFunction():
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
    """Apply an attention's mask, as `torch.nn.functional.scaled_dot_product_attention` does.

    Args:
        scores: [..., N, N], scaled, before the softmax.
        mask: what is added to them, or of booleans which to keep; None for neither.
    """
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -torch.inf)
    return scores + mask


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
