"""The tokens before the patches, and the classifier that reads tokens."""

from timm.models.naflexvit import NaFlexVit
from torch import nn

from salvit.vit.plain import ViT


def has_class_token(vit: ViT) -> bool:
    """Return whether token 0 is a class token."""
    holder = vit.embeds if isinstance(vit, NaFlexVit) else vit
    return getattr(holder, "cls_token", None) is not None


def num_prefix_tokens(vit: ViT) -> int:
    """Return how many tokens (class, distillation, registers) come before the patches."""
    return int(vit.num_prefix_tokens)


def reads_class_token(vit: ViT) -> bool:
    """Return whether the model classifies from its class token; one that pools nothing counts as such."""
    return has_class_token(vit) and vit.global_pool in ("token", "")


def tokens_read(vit: ViT) -> slice:
    """Return the tokens that the classifier reads: the class token, those it averages, or all that it attends over.

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


def num_classes(vit: ViT) -> int:
    """Return how many classes the classifier has, 0 if there is none.

    Counted from the last layer of the head that has a width, as `vit.num_classes` stays after `vit.head =
    nn.Linear(…)`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32)
        >>> vit.head = nn.Linear(192, 5)
        >>> num_classes(vit), vit.num_classes
        (5, 1000)
    """
    widths = [int(layer.out_features) for layer in vit.head.modules() if hasattr(layer, "out_features")]
    if widths:
        return widths[-1]
    passes_on = all(type(layer) in (nn.Identity, nn.Sequential) for layer in vit.head.modules())
    return 0 if passes_on and reads_out_as_timm(vit) else int(vit.num_classes)


def reads_out_as_timm(vit: ViT) -> bool:
    """Return whether the way from tokens to logits is timm's own, not one of a derived class."""
    return type(vit).forward_head.__module__.startswith("timm.") and "forward_head" not in vars(vit)
