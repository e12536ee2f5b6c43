"""Which methods a model supports."""

from collections.abc import Iterable, Mapping

from salvit.errors import InvalidIndexError, MissingExtraError
from salvit.extractors import METHODS, Extractor, spell
from salvit.vit import ViT, patch_grid


def supported_methods(
    vit: ViT, extractors: Iterable[Extractor] | None = None, size: tuple[int, int] | None = None
) -> tuple[dict[str, Extractor], dict[str, str]]:
    """Divide extractors into those that a model supports and the others.

    Args:
        vit: a plain timm ViT in eval mode.
        extractors: by default every method with its default options.
        size: (height, width) of the images in pixels, where it is known.

    Returns:
        Extractors by spelling, and the reason against each other one by spelling.

    Raises:
        IndexError: if an extractor names a block that the model does not have.

    Example:
        >>> from salvit.extractors import AGCAM, Rollout
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2, num_classes=0)
        >>> methods, refused = supported_methods(vit, [Rollout(), AGCAM()])
        >>> list(methods), list(refused)
        (['rollout'], ['agcam'])
    """
    supported: dict[str, Extractor] = {}
    refused: dict[str, str] = {}
    for extractor in [kind() for kind in METHODS.values()] if extractors is None else extractors:
        name = spell(extractor)
        try:
            extractor.check(vit)
            if size is not None:
                extractor.check_grid(vit, patch_grid(vit, size))
        except IndexError as error:
            raise InvalidIndexError(f"{name}: {error}") from error
        except (TypeError, ValueError, MissingExtraError) as error:
            refused[name] = str(error).replace(f"{name} ", "the method ", 1)
        else:
            supported[name] = extractor
    return supported, refused


def left_out(refused: Mapping[str, str], total: int) -> list[str]:
    """Return one line for each reason why some of `total` methods are left out.

    Example:
        >>> left_out({"agcam": "no head", "rise": "no head", "rollout": "no class token"}, 5)
        ['left out 2 of 5 methods, agcam and rise: no head', 'left out 1 of 5 methods, rollout: no class token']
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in refused.items():
        by_reason.setdefault(reason, []).append(name)
    lines = []
    for reason, names in by_reason.items():
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        lines.append(f"left out {len(names)} of {total} methods, {listed}: {reason}")
    return lines
