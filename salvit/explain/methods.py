"""Which methods to explain with: those typed, or all that the model supports."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

from salvit.errors import InvalidValueError
from salvit.extractors import METHODS, Extractor, parse_method, spell
from salvit.extractors.choice import supported_methods
from salvit.extractors.spelling import closest_method
from salvit.vit import ViT

ALL, DEFAULT = "all", "agcam"


def list_methods() -> str:
    """A line for each method: its name, and its options with their defaults."""
    lines = []
    for name, kind in sorted(METHODS.items()):
        options = [
            str(one.replace(annotation=one.empty)) for one in inspect.signature(kind).parameters.values()
        ]
        about = "of a class" if kind.class_specific else ""
        lines.append(f"  {name:<20} {about:<12} {' '.join(options)}".rstrip())
    return "\n".join(["methods, whether they explain a class, and their options:", *lines])


def named_methods(typed: Sequence[str], without: Sequence[str]) -> dict[str, Extractor]:
    """Make the extractors that a command line names, by spelling.

    Args:
        typed: methods, or "all"; none for the default method.
        without: methods that "all" leaves out, by name.

    Raises:
        ValueError: if a name or an option is wrong, or `without` is given without "all".
    """
    for name in without:
        if name not in METHODS:
            close, known = closest_method(name), ", ".join(METHODS)
            raise InvalidValueError(f'--without: no method "{name}"{close}\nMethods: {known}')
    typed_without = f"--without {' '.join(without)}"
    if without and ALL not in typed:
        raise InvalidValueError(f"{typed_without} leaves out methods of --method all, which was not typed")
    # A method that is typed with options is not also taken with the default ones.
    elsewhere = {*without, *(text.partition(":")[0] for text in typed if ":" in text)}
    every = [name for name in METHODS if name not in elsewhere]
    named = [name for text in typed or [DEFAULT] for name in (every if text == ALL else [text])]
    if not named:
        raise InvalidValueError(f"{typed_without} leaves no method")
    return {spell(extractor): extractor for extractor in map(_parse, named)}


def choose_methods(
    named: Mapping[str, Extractor], vit: ViT, size: tuple[int, int], is_default: bool
) -> tuple[dict[str, Extractor], dict[str, str]]:
    """The methods that a model supports at an input size, by spelling, and by spelling why not the others.

    Raises:
        ValueError: if it supports none.
        IndexError: if a method names a block that the model does not have.
    """
    chosen, refused = supported_methods(vit, named.values(), size)
    if not chosen:
        known = ", ".join(supported_methods(vit, size=size)[0]) if is_default else ""
        others = f"; it is the default method, and the model supports others: {known}" if is_default else ""
        raise InvalidValueError("\n".join(f"{name}: {reason}{others}" for name, reason in refused.items()))
    return chosen, refused


def _parse(text: str) -> Extractor:
    name = text.partition(":")[0]
    if name == ALL:
        raise InvalidValueError(
            f"{text}: all takes every method with its default options; type options with a method's own name"
        )
    if name not in METHODS and Path(text).exists():
        raise InvalidValueError(f'no method "{text}", but a file or folder: put images before --method')
    if name not in METHODS and "," in name:
        raise InvalidValueError(f'no method "{text}"; several methods are separated by spaces')
    return parse_method(text)
