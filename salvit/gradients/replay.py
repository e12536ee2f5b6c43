"""Some tokens sent through a block once more, given the attention and the values of a whole pass."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from salvit.recording import Recording
from salvit.vit import ViT, attention_modules

_FUSED = F.scaled_dot_product_attention

_PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj")


def replay_block(vit: ViT, tokens: Tensor, recording: Recording, block: int) -> Tensor:
    """Send the first tokens through a block, given the attention and the values of all.

    Of a model for which `tokens_meet_in_attention_alone`, this is what a whole pass makes of them.

    Args:
        vit: a plain timm ViT in eval mode.
        tokens: the first r of those that enter the block, [B, r, D].
        recording: of a whole pass, with the block's attention [B, heads, N or r, N] and values.
        block: its index.

    Returns:
        [B, r, D]; the graph goes on through the residual stream, the MLP and the attention, not into the attention's
        input.
    """
    modules: list[Any] = attention_modules(vit, block)
    mixed = _mix(recording.attention[block][:, :, : tokens.shape[1]], recording.values[block])
    with _Answer(modules, mixed.split([module.num_heads for module in modules], dim=1)):
        output: Tensor = vit.blocks[block](tokens)
    return output


def _mix(attention: Tensor, value: Tensor) -> Tensor:
    with torch.autocast(value.device.type, enabled=False):
        return (attention @ value.to(attention.dtype)).to(value.dtype)


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
