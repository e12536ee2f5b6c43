"""The transformer blocks and their attention."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from salvit.errors import InvalidIndexError, InvalidTypeError, InvalidValueError
from salvit.vit.plain import ViT


def num_heads(vit: ViT, block: int = -1) -> int:
    """Return the number of attention heads of a block, those of attentions side by side taken together."""
    modules: list[Any] = attention_modules(vit, block)
    return sum(int(module.num_heads) for module in modules)


def block_indices(vit: ViT, blocks: Iterable[int]) -> list[int]:
    """Return block indices counted from the first block; negative ones count from the last.

    Raises:
        TypeError: if an index is not an integer.
        IndexError: if there is no such block.
    """
    depth = len(vit.blocks)
    indices = list(blocks)
    for block in indices:
        if not isinstance(block, int) or isinstance(block, bool):
            raise InvalidTypeError(
                f"a block is an integer, negative ones counting from the last; got {block!r}"
            )
        if not -depth <= block < depth:
            raise InvalidIndexError(
                f"there is no block {block}: the model has {depth} blocks, 0 … {depth - 1} or -{depth} … -1"
            )
    return [block % depth for block in indices]


def attention_modules(vit: ViT, block: int) -> list[nn.Module]:
    """Return the modules that compute a block's attention; where MLP and attention are one, the block itself.

    There is more than one only where a block has several attentions side by side (timm's `18x2` models).
    """
    return [module for module in vit.blocks[block].modules() if "fused_attn" in vars(module)]


def require_attention(vit: ViT, block: int, what: str) -> None:
    """Raise unless a block has attention of timm's; `what` needs it, for the message.

    Raises:
        IndexError: if there is no such block.
        ValueError: if its attention is not one of timm's.
    """
    [index] = block_indices(vit, [block])
    if not attention_modules(vit, index):
        raise InvalidValueError(
            f"{what} needs timm's attention, and block {index} of this {type(vit).__name__} "
            f"({type(vit.blocks[index]).__name__}) has none"
        )


def require_attention_maps(vit: ViT, what: str) -> None:
    """Raise ValueError unless every block has timm's attention, whose rows are probabilities (not differential)."""
    for block in range(len(vit.blocks)):
        require_attention(vit, block, what)
        # The one attribute that timm's DiffAttention and DiffParallelScalingBlock share.
        if any(hasattr(module, "lambda_init") for module in attention_modules(vit, block)):
            raise InvalidValueError(
                f"{what} needs attention maps, and block {block} of this {type(vit).__name__} subtracts one map "
                "from another (differential attention), neither of which is the block's"
            )


@contextmanager
def fused_attention(vit: ViT) -> Iterator[None]:
    """Let a model use fused attention, whose values can be recorded, inside the `with` block."""
    modules: list[Any] = [module for module in vit.blocks.modules() if "fused_attn" in vars(module)]
    before = [module.fused_attn for module in modules]
    try:
        for module in modules:
            module.fused_attn = True
        yield
    finally:
        for module, fused in zip(modules, before, strict=True):
            module.fused_attn = fused
