"""Options of a method from the text that was typed for them."""

import inspect
from argparse import ArgumentError
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from salvit.explain.spec import Spec
from salvit.extractors import METHODS, Extractor

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


def make_method(spec: Spec) -> Extractor:
    """Make the extractor of a method with the options that were typed.

    Args:
        spec: with the name of a method.

    Raises:
        ValueError: if the method has no such option, or the option no such value.

    Example:
        >>> make_method(Spec("rollout", (("rows", "all"), ("start_layer", "1"))))
        Rollout(start_layer=1, per_head=False, rows='all')
    """
    method = METHODS[spec.name]
    known = inspect.signature(method).parameters
    for option, _ in spec.options:
        if option not in known:
            raise ValueError(
                f"{spec}: {spec.name} has no option {option}; it has {', '.join(known) or 'none at all'}"
            )
    options = {option: _value(spec, option, text) for option, text in spec.options}
    try:
        return method(**options)
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from error


def _value(spec: Spec, option: str, text: str) -> Any:
    method = METHODS[spec.name]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(method)
    try:
        return parser.parse_args([f"--{option}={text}"])[option]
    except ArgumentError as error:
        expected = _described(get_type_hints(method.__init__)[option])
        raise ValueError(f"{spec}: {option} should be {expected}; got {text}") from error


def _described(annotation: Any) -> str:
    """What a person may type for a type."""
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(_described, get_args(annotation)))
    if get_origin(annotation) is list:
        return f"a list such as [0,1] ({_described(get_args(annotation)[0])} each)"
    return _KINDS.get(annotation, str(annotation))
