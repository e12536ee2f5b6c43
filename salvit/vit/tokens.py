"""The tokens that come before the patches, and which of them the classifier reads."""

from timm.models.deit import VisionTransformerDistilled
from timm.models.naflexvit import NaFlexVit

from salvit.vit.plain import ViT


def has_class_token(vit: ViT) -> bool:
    """Return whether token 0 is a class token.

    Args:
        vit: a plain timm ViT.
    """
    holder = vit.embeds if isinstance(vit, NaFlexVit) else vit
    return getattr(holder, "cls_token", None) is not None


def require_class_token(vit: ViT, what: str, remedy: str = "use a model with one") -> None:
    """Raise if the model has no class token.

    Args:
        vit: a plain timm ViT.
        what: what needs the token, for the message.
        remedy: what to do instead, for the message.

    Raises:
        ValueError: if it has none.
    """
    if not has_class_token(vit):
        raise ValueError(f"{what} needs a class token, and this {type(vit).__name__} has none: {remedy}")


def num_prefix_tokens(vit: ViT) -> int:
    """Return how many tokens (class, distillation, registers) come before the patches.

    Args:
        vit: a plain timm ViT.
    """
    return int(vit.num_prefix_tokens)


def tokens_read(vit: ViT) -> int | None:
    """Return how many tokens, counted from the first, the classifier reads, or None if it pools patches.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> from salvit.vit import load_vit
        >>> tokens_read(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32))
        1
    """
    if isinstance(vit, VisionTransformerDistilled):
        return 2
    return 1 if has_class_token(vit) and vit.global_pool == "token" else None
