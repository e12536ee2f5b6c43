"""The classifier behind the tokens."""

from torch import nn

from salvit.vit.plain import ViT


def num_classes(vit: ViT) -> int:
    """Return how many classes the classifier tells apart, 0 if there is none.

    The head that is there counts, by the last of its layers that has a width, and not `vit.num_classes`, which stays
    as it was after `vit.head = nn.Linear(…)`.

    Args:
        vit: a plain timm ViT.

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
    """Return whether the way from tokens to logits is timm's own, not one of a derived class.

    Args:
        vit: a plain timm ViT.
    """
    return type(vit).forward_head.__module__.startswith("timm.") and "forward_head" not in vars(vit)
