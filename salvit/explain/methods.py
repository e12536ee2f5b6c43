"""Which methods to explain with: those named, or all that have a meaning for the model."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from salvit.explain.method_options import make_method
from salvit.explain.spec import Spec
from salvit.extractors import METHODS, Extractor
from salvit.extractors.choice import supported_methods
from salvit.vit import ViT, patch_grid

ALL = "all"
DEFAULT = Spec("agcam")


def check_methods(specs: Sequence[Spec], without: Sequence[str] = ()) -> None:
    """Raise unless every method is one of `METHODS` with options it takes, or "all".

    Args:
        specs: as typed.
        without: names of those that "all" is to leave out.

    Raises:
        ValueError: if one is not, with the closest name, or if there is no "all" to leave any out of.
    """
    for name in without:
        if name not in METHODS:
            raise ValueError(f'--without: no method "{name}"{_closest(name)}\nMethods: {", ".join(METHODS)}')
    if without and Spec(ALL) not in specs:
        raise ValueError(
            f"--without {' '.join(without)} leaves out methods of --method all, which was not typed"
        )
    for spec in specs:
        if spec == Spec(ALL):
            continue
        if spec.name not in METHODS and ("." not in spec.name or _exists(str(spec))):
            raise ValueError(_unknown(spec))
        make_method(spec)


def choose_methods(
    specs: Sequence[Spec], vit: ViT, size: tuple[int, int], without: Sequence[str] = ()
) -> tuple[dict[str, Extractor], dict[str, str]]:
    """Make the extractors of the methods named.

    Args:
        specs: as typed; none for the default method.
        vit: the model.
        size: (height, width) of its input in pixels.
        without: names of those that "all" is to leave out.

    Returns:
        Extractors by label (`label_of`), and by name why those that "all" has left out have no meaning for the model.

    Raises:
        ValueError: if a method that was named, or the default one, has none, or no method is left.
    """
    # With options of its own, a method is not also taken with the default ones.
    elsewhere = {*without, *(spec.name for spec in specs if spec.options)}
    chosen: dict[str, Extractor] = {}
    left_out: dict[str, str] = {}
    for spec in specs or [DEFAULT]:
        if spec.name == ALL:
            names = [name for name in METHODS if name not in elsewhere]
            supported, refused = supported_methods(vit, names, size)
            chosen |= supported
            left_out = {
                name: reason + _remedy(METHODS[name](), vit, size) for name, reason in refused.items()
            }
            continue
        extractor = make_method(spec)
        if reason := _refusal(extractor, vit, size):
            remedy = _remedy(extractor, vit, size) if specs else f"; {_others(vit, size)}"
            raise ValueError(reason + remedy)
        chosen[label_of(extractor)] = extractor
    if not chosen:
        raise ValueError(f"--without {' '.join(without)} leaves no method that has a meaning for the model")
    return chosen, left_out


def label_of(extractor: Extractor) -> str:
    """A method as it is typed, with the options that are not the default ones.

    Args:
        extractor: of a class in `METHODS`, or one of your own, which is named by its module and class.

    Example:
        >>> from salvit.extractors import RawAttention, Rollout
        >>> label_of(Rollout()), label_of(RawAttention(block=[0, 1], per_head=True))
        ('rollout', 'raw_attention:block=[0,1],per_head=true')
    """
    kind = type(extractor)
    names = {method: name for name, method in METHODS.items()}
    name = names.get(kind, f"{kind.__module__}.{kind.__qualname__}")
    changed = extractor.changed_options()
    return str(Spec(name, tuple((option, _typed(value)) for option, value in changed.items())))


def file_label(label: str) -> str:
    """A label without the colon, which some systems take in no file name.

    Example:
        >>> file_label("rollout:start_layer=1,rows=all")
        'rollout,start_layer=1,rows=all'
    """
    return label.replace(":", ",")


def _typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _unknown(spec: Spec) -> str:
    if spec.name == ALL:
        return (
            f"{spec}: all takes every method with its default options; type options with a method's own name"
        )
    hint = _closest(spec.name, ALL)
    if "," in spec.name:
        hint = "; several methods are separated by spaces"
    if _exists(str(spec)):
        hint = ", but a file or folder: put images before --method"
    return f'no method "{spec.name}"{hint}\nMethods: {ALL}, {", ".join(METHODS)}'


def _closest(name: str, *others: str) -> str:
    closest = difflib.get_close_matches(name, [*METHODS, *others], n=1)
    return f'; did you mean "{closest[0]}"?' if closest else ""


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a name can be
        return False


def _refusal(extractor: Extractor, vit: ViT, size: tuple[int, int]) -> str:
    """Why a method has no meaning for the model; "" if it has."""
    try:
        extractor.check(vit)
        extractor.check_grid(vit, patch_grid(vit, size))
    except IndexError as error:  # says which block, but not of what
        return f"{label_of(extractor)}: {error}"
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _over_all_rows(extractor: Extractor, vit: ViT, size: tuple[int, int]) -> str:
    """The label of a method with `rows="all"`, if it has a meaning for the model; else ""."""
    options: Mapping[str, object] = extractor.options()
    if options.get("rows", "all") == "all":
        return ""
    variant = type(extractor)(**{**options, "rows": "all"})
    return "" if _refusal(variant, vit, size) else label_of(variant)


def _remedy(extractor: Extractor, vit: ViT, size: tuple[int, int]) -> str:
    variant = _over_all_rows(extractor, vit, size)
    return f" (type --method {variant})" if variant else ""


def _others(vit: ViT, size: tuple[int, int]) -> str:
    supported, refused = supported_methods(vit, size=size)
    variants = [_over_all_rows(METHODS[name](), vit, size) for name in refused]
    known = ", ".join([*supported, *filter(None, variants)])
    return f"this is the default method; --method takes others that have a meaning for the model: {known}"
