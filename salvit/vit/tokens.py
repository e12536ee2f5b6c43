"""The tokens that come before the patches, and the tokens that the classifier reads."""

from timm.models.naflexvit import NaFlexVit

from salvit.vit.plain import ViT


def has_class_token(vit: ViT) -> bool:
    """Return whether token 0 is a class token.

    Args:
        vit: a plain timm ViT.
    """
    holder = vit.embeds if isinstance(vit, NaFlexVit) else vit
    return getattr(holder, "cls_token", None) is not None


def num_prefix_tokens(vit: ViT) -> int:
    """Return how many tokens (class, distillation, registers) come before the patches.

    Args:
        vit: a plain timm ViT.
    """
    return int(vit.num_prefix_tokens)


def reads_class_token(vit: ViT) -> bool:
    """Return whether the model classifies from its class token; one that pools nothing counts as such.

    Args:
        vit: a plain timm ViT.
    """
    return has_class_token(vit) and vit.global_pool in ("token", "")


def tokens_read(vit: ViT) -> slice:
    """Return which tokens the classifier reads: the class token, those it averages, or all that it attends over.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> from salvit.vit import load_vit
        >>> tokens_read(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32))
        slice(0, 1, None)
        >>> tokens_read(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, global_pool="avg"))
        slice(1, None, None)
    """
    if reads_class_token(vit):
        return slice(0, 1)
    all_of_them = vit.global_pool == "map" or getattr(vit, "pool_include_prefix", False)
    return slice(0 if all_of_them else num_prefix_tokens(vit), None)
