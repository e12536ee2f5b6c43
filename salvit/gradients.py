"""Gradients of class logits with respect to attention, on frozen models and in any grad mode."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from salvit.hooks import in_this_thread, inputs_of, outputs_of
from salvit.recording import Recording, record
from salvit.vit import ViT, attention_modules, require_class_token, tokens_read
from salvit.vit.tokenwise import tokens_meet_in_attention_alone
from salvit.vit.walk import modules_of

_FUSED = F.scaled_dot_product_attention
_PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj")


@contextmanager
def differentiable() -> Iterator[None]:
    """Record an autograd graph inside the `with` block, also under `no_grad` and `inference_mode`.

    Example:
        >>> with torch.inference_mode(), differentiable():
        ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        (True, False)
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def outside_graph(tensor: Tensor) -> Tensor:
    """Return a copy without history that autograd may save, also of a tensor made in inference mode.

    Args:
        tensor: any tensor.
    """
    return tensor.detach().clone()


def target_logits(logits: Tensor, target: Tensor | None) -> Tensor:
    """Return the sum over the batch of each image's target logit; samples do not mix, so neither do gradients.

    Args:
        logits: [B, classes].
        target: int64 [B], or None for the predicted classes.

    Returns:
        A scalar.

    Example:
        >>> target_logits(torch.tensor([[1.0, 2.0], [8.0, 4.0]]), torch.tensor([1, 1]))
        tensor(6.)
    """
    classes = logits.argmax(dim=-1) if target is None else outside_graph(target)
    return logits.gather(1, classes[:, None]).sum()


def require_differentiable(vit: ViT) -> None:
    """Raise if the model cannot be differentiated, or recomputes its activations during the backward pass.

    Args:
        vit: a plain timm ViT.

    Raises:
        ValueError: if it has quantised layers, or gradient checkpointing is on.
    """
    require_gradients(vit)
    if getattr(vit, "grad_checkpointing", False):
        raise ValueError(
            "gradients with respect to attention need its forward pass only once, and this model recomputes it: "
            "call vit.set_grad_checkpointing(False) first"
        )


def require_gradients(vit: ViT) -> None:
    """Raise if gradients do not flow through some layer: torch leaves what it adds out of them without an error.

    Args:
        vit: a plain timm ViT.

    Raises:
        ValueError: if it has layers of torch's quantised ones; the message names one.
    """
    if any(map(_is_quantised, modules_of(vit))):
        name, layer = next((name, module) for name, module in vit.named_modules() if _is_quantised(module))
        raise ValueError(
            f"gradients do not flow through quantised layers, such as {name} ({type(layer).__module__}."
            f"{type(layer).__name__}): explain the model as it was before"
        )


def _is_quantised(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.ao.", "torch.nn.quantized"))


def require_class_readout(vit: ViT, what: str, remedy: str = "use a model that does") -> None:
    """Raise unless the model classifies from its class token.

    Args:
        vit: a plain timm ViT.
        what: what needs it, for the message.
        remedy: what to do instead, for the message.

    Raises:
        ValueError: if it has no class token, or pools other tokens.
    """
    require_class_token(vit, what, remedy)
    if vit.global_pool != "token":
        raise ValueError(
            f"{what} follows the class token's row, and this {type(vit).__name__} does not classify from its "
            f'class token (global_pool="{vit.global_pool}"): {remedy}'
        )


def attention_gradients(
    vit: ViT, images: Tensor, target: Tensor | None, blocks: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the attention of some blocks and the gradients of the target logits with respect to it.

    One forward and one backward pass for the whole batch; the graph begins at the first of the blocks.

    Args:
        vit: a plain timm ViT in eval mode.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.
        blocks: block indices.

    Returns:
        For each entry of `blocks` the attention, and for each the gradient, both [B, heads, N, N].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> attention, gradients = attention_gradients(vit, torch.rand(1, 3, 32, 32), None, [0, 1])
        >>> [gradient.shape for gradient in gradients]
        [torch.Size([1, 3, 5, 5]), torch.Size([1, 3, 5, 5])]
    """
    with differentiable():
        recording, logits = _recorded_pass(vit, outside_graph(images), blocks)
        attention = [recording.attention[block] for block in blocks]
        gradients = recording.gradients(target_logits(logits, target), blocks)
    return [block.detach() for block in attention], gradients


def _recorded_pass(vit: ViT, images: Tensor, blocks: Sequence[int]) -> tuple[Recording, Tensor]:
    """Record attention within a graph; of the last block compute no more than the classifier reads."""
    last = len(vit.blocks) - 1
    read = tokens_read(vit)
    if read is None or last not in blocks or not tokens_meet_in_attention_alone(vit):
        with record(vit, blocks, gradients=True) as recording:
            logits = vit(images)
        return recording, logits
    with fused_attention(vit), inputs_of([vit.blocks[last]]) as entering:
        with record(vit, blocks, gradients=True, values=True, stop=True) as recording:
            vit(images)
        row = _replay_block(vit, entering[vit.blocks[last]][:, :read], recording, last)
        return recording, vit.forward_head(vit.norm(row))


class ClassRow(NamedTuple):
    """The class token's row in consecutive blocks, each tensor [B, heads, 1, N].

    Attributes:
        attention: after the softmax.
        scores: before it, scaled.
        gradients: of the target logits with respect to the attention.
    """

    attention: list[Tensor]
    scores: list[Tensor]
    gradients: list[Tensor]


def class_row_gradients(vit: ViT, images: Tensor, target: Tensor | None, first: int = 0) -> ClassRow:
    """Return the class token's attention and its gradient through the residual stream and the MLPs only.

    Where no gradient enters an attention's input, the logits depend on a block's attention through the class
    token's row alone. So the model runs as it is, with the fused kernel and without a graph, and then only
    the class token goes through the blocks again, given the attention and the values of the first pass. A model in
    which tokens may meet elsewhere runs once, with the graph of all tokens.

    Args:
        vit: a plain timm ViT in eval mode that classifies from its class token.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B], or None for the predicted classes.
        first: first of the blocks.

    Returns:
        The rows of blocks first … last. In the last block the gradient is the ordinary one.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> class_row_gradients(vit, torch.rand(1, 3, 32, 32), None).gradients[0].shape
        torch.Size([1, 3, 1, 5])
    """
    blocks = range(first, len(vit.blocks))
    if not tokens_meet_in_attention_alone(vit):
        return _class_rows_of_whole_pass(vit, images, target, blocks)
    with differentiable(), fused_attention(vit):
        with torch.no_grad():
            recording, entry, exit_tokens = _plain_pass(vit, outside_graph(images), blocks)
        attention = [recording.attention[block].requires_grad_() for block in blocks]
        row = _replay(vit, entry, recording, blocks)
        logits = vit.forward_head(vit.norm(torch.cat([row, exit_tokens[:, 1:]], dim=1)))
        gradients = torch.autograd.grad(target_logits(logits, target), attention)
    scores = [recording.scores[block] for block in blocks]
    return ClassRow([block.detach() for block in attention], scores, list(gradients))


def _class_rows_of_whole_pass(vit: ViT, images: Tensor, target: Tensor | None, blocks: range) -> ClassRow:
    with differentiable(), fused_attention(vit), _without_gradient_into_attention(vit, blocks):
        with record(vit, blocks, gradients=True, scores=True) as recording, _CutOff():
            logits = vit(outside_graph(images))
        gradients = recording.gradients(target_logits(logits, target), blocks)
    attention, scores = (
        [maps[block][:, :, :1].detach() for block in blocks]
        for maps in (recording.attention, recording.scores)
    )
    return ClassRow(attention, scores, [gradient[:, :, :1] for gradient in gradients])


@contextmanager
def _without_gradient_into_attention(vit: ViT, blocks: range) -> Iterator[None]:
    """Let no gradient into attentions' inputs, which some read for more than queries, keys and values."""

    @in_this_thread
    def cut_off(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return tree_map_only(Tensor, Tensor.detach, (args, kwargs))

    with ExitStack() as stack:
        for block in blocks:
            for module in attention_modules(vit, block):
                if module is not vit.blocks[block]:  # where the MLP is part of it
                    stack.callback(module.register_forward_pre_hook(cut_off, with_kwargs=True).remove)
        yield


@contextmanager
def fused_attention(vit: ViT) -> Iterator[None]:
    """Let a model use fused attention inside the `with` block, whose values can be recorded.

    Args:
        vit: a plain timm ViT.
    """
    modules: list[Any] = [module for module in modules_of(vit) if "fused_attn" in vars(module)]
    before = [module.fused_attn for module in modules]
    try:
        for module in modules:
            module.fused_attn = True
        yield
    finally:
        for module, fused in zip(modules, before, strict=True):
            module.fused_attn = fused


def _plain_pass(vit: ViT, images: Tensor, blocks: range) -> tuple[Recording, Tensor, Tensor]:
    """Return the recorded class rows, the class token before the first block, all tokens after the last."""
    first, last = vit.blocks[blocks[0]], vit.blocks[blocks[-1]]
    with (
        inputs_of([first]) as entering,
        outputs_of([last]) as leaving,
        record(vit, blocks, rows="class", scores=True, values=True) as recording,
    ):
        vit(images)
    return recording, entering[first][:, :1], leaving[last]


def _replay(vit: ViT, row: Tensor, recording: Recording, blocks: range) -> Tensor:
    """Send the class token [B, 1, D] through the blocks alone; attention's input is outside the graph."""
    for block in blocks:
        row = _replay_block(vit, row, recording, block)
    return row


def _replay_block(vit: ViT, tokens: Tensor, recording: Recording, block: int) -> Tensor:
    """Send the first tokens [B, r, D] through a block, given the attention and the values of all."""
    modules: list[Any] = attention_modules(vit, block)
    mixed = _mix(recording.attention[block][:, :, : tokens.shape[1]], recording.values[block])
    with _Answer(modules, mixed.split([module.num_heads for module in modules], dim=1)):
        output: Tensor = vit.blocks[block](tokens)
    return output


def _mix(attention: Tensor, value: Tensor) -> Tensor:
    with torch.autocast(value.device.type, enabled=False):
        return (attention @ value.to(attention.dtype)).to(value.dtype)


class _CutOff(TorchFunctionMode):
    """Lets no gradient into the queries, keys and values of fused attentions."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _FUSED:
            args, kwargs = tree_map_only(Tensor, Tensor.detach, (args, kwargs))
        return func(*args, **kwargs)


class _Answer(TorchFunctionMode):
    """Answers the fused attentions of a block, one after the other, and skips the projections before them.

    What the projections of queries, keys and values give is only looked at by the call that is answered: zeros
    of the right shape spare reading a quarter of the block's weights, which for few tokens is what takes the time.
    No gradient enters an attention's input either.
    """

    def __init__(self, modules: Sequence[nn.Module], outputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.outputs = iter(outputs)
        layers = (getattr(module, name, None) for module in modules for name in _PROJECTIONS)
        self.skipped = [layer.weight for layer in layers if layer is not None]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _FUSED:
            return next(self.outputs)
        if func is F.linear:
            weight = kwargs["weight"] if len(args) < 2 else args[1]
            if any(weight is skipped for skipped in self.skipped):
                return args[0].new_zeros(*args[0].shape[:-1], len(weight))
        return func(*args, **kwargs)
