"""Which methods to explain with: those named, or all that have a meaning for the model."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from salvit.extractors import METHODS, Extractor
from salvit.extractors.choice import supported_methods
from salvit.vit import ViT, input_size

ALL = "all"


def check_methods(names: Sequence[str]) -> None:
    """Raise unless every name is one of a method, or "all".

    Args:
        names: as typed.

    Raises:
        ValueError: if one is not; the message has the closest name.
    """
    for name in names:
        if name == ALL or name in METHODS:
            continue
        closest = difflib.get_close_matches(name, [*METHODS, ALL], n=1)
        hint = f'; did you mean "{closest[0]}"?' if closest else ""
        if Path(name).exists():
            hint = ", but a file or folder: put images before --method"
        raise ValueError(f'no method "{name}"{hint}\nMethods: {ALL}, {", ".join(METHODS)}')


def choose_methods(names: Sequence[str], vit: ViT) -> tuple[dict[str, Extractor], dict[str, str]]:
    """Make the extractors of the methods named.

    Args:
        names: of methods, or "all".
        vit: the model.

    Returns:
        Extractors by name, and why those that "all" has left out have no meaning for the model.

    Raises:
        TypeError: if a method that was named has none.
        ValueError: likewise.
        IndexError: likewise.
    """
    if ALL in names:
        chosen, refused = supported_methods(vit, size=input_size(vit))
        named = [name for name in names if name != ALL]
    else:
        chosen, refused, named = {name: METHODS[name]() for name in names}, {}, list(names)
    for name in named:
        METHODS[name]().check(vit)
    return chosen, refused
