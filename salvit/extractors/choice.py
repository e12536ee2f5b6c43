"""Methods by name, and which of them a model supports."""

from collections.abc import Iterable

from salvit.extractors import METHODS, Extractor
from salvit.vit import ViT, patch_grid


def supported_methods(
    vit: ViT, names: Iterable[str] | None = None, size: tuple[int, int] | None = None
) -> tuple[dict[str, Extractor], dict[str, str]]:
    """Make the extractors, with their default options, that have a meaning for a model.

    Args:
        vit: a plain timm ViT in eval mode.
        names: keys of `METHODS`; all by default.
        size: (height, width) of the images in pixels, where it is known.

    Returns:
        Extractors by name, and by name why the others have no meaning.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2, num_classes=0)
        >>> methods, refused = supported_methods(vit, ["rollout", "agcam"])
        >>> list(methods), list(refused)
        (['rollout'], ['agcam'])
    """
    supported: dict[str, Extractor] = {}
    refused: dict[str, str] = {}
    for name in METHODS if names is None else names:
        extractor = METHODS[name]()
        try:
            extractor.check(vit)
            if size is not None:
                extractor.check_grid(vit, patch_grid(vit, size))
        except (TypeError, ValueError, IndexError) as error:
            refused[name] = str(error)
        else:
            supported[name] = extractor
    return supported, refused
