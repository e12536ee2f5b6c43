"""Which methods to explain with: those that the command line names, or the default one."""

import inspect
from collections.abc import Sequence
from pathlib import Path

from salvit.errors import InvalidValueError
from salvit.extractors import METHODS, Extractor, parse_method, spell
from salvit.extractors.spelling import closest_method

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
