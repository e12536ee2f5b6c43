"""The transformer blocks and their attention."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from salvit.vit.images import patch_embedding
from salvit.vit.plain import ViT
from salvit.vit.tokenwise import has_hooks_of_all, is_altered, is_idle
from salvit.vit.walk import modules_of


def num_blocks(vit: ViT) -> int:
    """Return the number of transformer blocks.

    Args:
        vit: a plain timm ViT.
    """
    return len(vit.blocks)


def num_heads(vit: ViT, block: int = -1) -> int:
    """Return the number of attention heads of a block, those of attentions side by side taken together.

    Args:
        vit: a plain timm ViT.
        block: index, negative ones counting from the last block; heads may have been pruned in some.
    """
    modules: list[Any] = attention_modules(vit, block)
    return sum(int(module.num_heads) for module in modules)


def block_indices(vit: ViT, blocks: Iterable[int]) -> list[int]:
    """Return block indices counted from the first block.

    Args:
        vit: a plain timm ViT.
        blocks: indices, negative ones counting from the last block.

    Raises:
        TypeError: if an index is not an integer.
        IndexError: if there is no such block.
    """
    depth = len(vit.blocks)
    indices = list(blocks)
    for block in indices:
        if not isinstance(block, int) or isinstance(block, bool):
            raise TypeError(f"a block is an integer, negative ones counting from the last; got {block!r}")
        if not -depth <= block < depth:
            raise IndexError(
                f"there is no block {block}: the model has {depth} blocks, 0 … {depth - 1} or -{depth} … -1"
            )
    return [block % depth for block in indices]


def attention_modules(vit: ViT, block: int) -> list[nn.Module]:
    """Return the modules that compute a block's attention; where MLP and attention are one, the block itself.

    There is more than one only where a block has several attentions side by side (timm's `18x2` models).

    Args:
        vit: a plain timm ViT.
        block: index, negative ones counting from the last block.
    """
    return [module for module in modules_of(vit.blocks[block]) if "fused_attn" in vars(module)]


def require_attention(vit: ViT, block: int, what: str) -> None:
    """Raise unless a block has attention of timm's.

    Args:
        vit: a plain timm ViT.
        block: index, negative ones counting from the last block.
        what: what needs it, for the message.

    Raises:
        IndexError: if there is no such block.
        ValueError: if its attention is not one of timm's, or several blocks share one.
    """
    [index] = block_indices(vit, [block])
    _require_attention_of_its_own(vit, what, [index])
    if not attention_modules(vit, index):
        raise ValueError(
            f"{what} needs timm's attention, and block {index} of this {type(vit).__name__} "
            f"({type(vit.blocks[index]).__name__}) has none"
        )


def require_attention_maps(vit: ViT, what: str) -> None:
    """Raise unless every block has attention whose rows are probabilities.

    Args:
        vit: a plain timm ViT.
        what: what needs the maps, for the message.

    Raises:
        ValueError: if a block's attention is differential or not one of timm's, where the message names the
            block, or several blocks are, or share, one and the same.
    """
    _require_attention_of_its_own(vit, what, range(len(vit.blocks)))
    for block in range(len(vit.blocks)):
        modules = attention_modules(vit, block)
        # The one attribute that timm's DiffAttention and DiffParallelScalingBlock share.
        if any(hasattr(module, "lambda_init") for module in modules):
            raise ValueError(
                f"{what} needs attention maps, and block {block} of this {type(vit).__name__} subtracts one map "
                "from another (differential attention), neither of which is the block's"
            )
        if not modules:
            require_attention(vit, block, what)


def _require_attention_of_its_own(vit: ViT, what: str, blocks: Iterable[int]) -> None:
    users = Counter(module for block in range(len(vit.blocks)) for module in attention_modules(vit, block))
    if any(users[module] > 1 for block in blocks for module in attention_modules(vit, block)):
        raise ValueError(
            f"{what} needs the attention of each block, and blocks of this {type(vit).__name__} are, or share, one "
            "and the same module, which does not tell when it is which"
        )


def once_a_pass(vit: ViT) -> list[nn.Module]:
    """Return parts that run once in every pass: the patch embedding, and the first block if it is no other as well.

    Args:
        vit: a plain timm ViT.
    """
    first = vit.blocks[0]
    return [patch_embedding(vit), *([first] if [*vit.blocks].count(first) == 1 else [])]


@contextmanager
def fused_attention(vit: ViT) -> Iterator[None]:
    """Let a model use fused attention inside the `with` block, whose values can be recorded.

    Args:
        vit: a plain timm ViT.

    Raises:
        ValueError: if it would compute something else then.
    """
    modules: list[Any] = [module for module in modules_of(vit) if "fused_attn" in vars(module)]
    if not all(map(computes_as_fused, modules)):
        raise ValueError(
            f"an attention of this {type(vit).__name__}, computed in the open (fused_attn=False), has a scale of its "
            "own, or a hook or something else in the place of its dropout, for which the fused attention that this "
            "method takes does not ask: change the weights instead, or remove the hook"
        )
    before = [module.fused_attn for module in modules]
    try:
        for module in modules:
            module.fused_attn = True
        yield
    finally:
        for module, fused in zip(modules, before, strict=True):
            module.fused_attn = fused


def computes_as_fused(attention: Any) -> bool:
    """Return whether an attention of timm's computes the same with the fused kernel as it does now.

    In the open it multiplies scores by its `scale` and sends the map through its `attn_drop`, for neither of which the
    fused kernel asks.

    Args:
        attention: one of `attention_modules`.

    Example:
        >>> from salvit.vit import load_vit
        >>> attention = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1).blocks[0].attn
        >>> attention.fused_attn, before = False, computes_as_fused(attention)
        >>> attention.scale = 1.0
        >>> before, computes_as_fused(attention)
        (True, False)
    """
    if attention.fused_attn:
        return True
    drop = getattr(attention, "attn_drop", None)
    if not is_idle(drop) or (drop is not None and is_altered(drop)) or has_hooks_of_all():
        return False
    width = getattr(attention, "head_dim", None) or attention.proj.in_features // attention.num_heads
    return isinstance(attention.scale, float) and attention.scale == width**-0.5
