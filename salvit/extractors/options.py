"""Options of methods, checked against what their constructors take."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from salvit.extractors.base import Extractor

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


def checked_options(method: type[Extractor], options: Mapping[str, object]) -> dict[str, Any]:
    """Return options as a method's constructor takes them.

    Args:
        method: a class of extractors.
        options: values of some of its options.

    Raises:
        ValueError: if one has another type; the message says which.

    Example:
        >>> from salvit.extractors import RawAttention
        >>> checked_options(RawAttention, {"block": (0, 1), "rows": "all"})
        {'block': [0, 1], 'rows': 'all'}
    """
    return {option: _checked(method, option, value) for option, value in options.items()}


def parsed_option(method: type[Extractor], option: str, text: str) -> Any:
    """Return the value of an option from what was typed for it.

    Args:
        method: a class of extractors.
        option: one of its options.
        text: the value as YAML.

    Raises:
        ValueError: if the option does not take it.

    Example:
        >>> from salvit.extractors import RawAttention
        >>> parsed_option(RawAttention, "block", "[0,1]")
        [0, 1]
    """
    try:
        return _parser(method).parse_args([f"--{option}={text}"])[option]
    except ArgumentError as error:
        raise ValueError(f"{option} should be {_expected(method, option)}; got {text}") from error


def _checked(method: type[Extractor], option: str, value: object) -> Any:
    try:
        # None is what an option has that was not given, so the parser would let it pass.
        if value is None and NoneType not in get_args(_annotation(method, option)):
            raise ArgumentError(None, "")
        return _parser(method).parse_object({option: value})[option]
    except ArgumentError as error:
        raise ValueError(f"{option} should be {_expected(method, option)}; got {value!r}") from error


def _parser(method: type[Extractor]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(method)
    return parser


def _annotation(method: type[Extractor], option: str) -> Any:
    return get_type_hints(method.__init__)[option]


def _expected(method: type[Extractor], option: str) -> str:
    return _described(_annotation(method, option))


def _described(annotation: Any) -> str:
    """What a person may give for a type."""
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(_described, get_args(annotation)))
    if get_origin(annotation) is list:
        return f"a list such as [0,1] ({_described(get_args(annotation)[0])} each)"
    return _KINDS.get(annotation, str(annotation))
