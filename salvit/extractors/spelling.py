"""How a method is written everywhere: `name`, or `name:option=value,option=value`."""

import difflib
import inspect
import re
from pydoc import ErrorDuringImport, locate
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote

from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import register_type

from salvit.errors import InvalidValueError
from salvit.extractors.base import METHODS, Extractor

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}

if TYPE_CHECKING:
    Spelling = str
else:

    class Spelling(str):
        """Type of an option that takes a method as text: command lines and YAML are checked when they are read."""


def parse_method(method: str | Extractor, **options: Any) -> Extractor:
    """Make the extractor of a method as it is written.

    Args:
        method: `name` or `name:option=value,option=value`; commas within brackets belong to a value. The name is a key
            of `METHODS`, or the import path of the user's class, `my_package.MyExtractor`. An extractor is returned
            unchanged.
        **options: further options, as Python values.

    Raises:
        ValueError: if it has another form, or there is no such method, option or value of an option.

    Example:
        >>> parse_method("rollout:start_layer=1,rows=all")
        Rollout(start_layer=1, per_head=False, rows='all')
    """
    if isinstance(method, Extractor) and not options:
        return method
    if not isinstance(method, str):
        raise InvalidValueError(
            f'a method is text such as "rollout:rows=all", or an extractor without options; got {method!r}'
        )
    name, colon, text = method.partition(":")
    typed = [_option(method, part) for part in re.split(r",(?![^\[]*\])", text)] if colon else []
    names = [option for option, _ in typed] + list(options)
    if twice := [option for option in names if names.count(option) > 1]:
        raise InvalidValueError(f"{method} has the option {twice[0]} twice")
    kind = _find(name)
    known = inspect.signature(kind).parameters
    for option in names:
        if option not in known:
            raise InvalidValueError(
                f"{method}: {name} has no option {option}{_hint(option, known)}; its options: "
                f"{', '.join(known) or 'none'}"
            )
    try:
        return kind(**{option: _checked(kind, option, value) for option, value in [*typed, *options.items()]})
    except ValueError as error:
        raise InvalidValueError(f"{method}: {error}") from error


def spell(extractor: Extractor) -> str:
    """Write a method as `parse_method` reads it, with the options that are not the default ones.

    Example:
        >>> from salvit.extractors import RawAttention, Rollout
        >>> spell(Rollout()), spell(RawAttention(block=[0, 1], per_head=True))
        ('rollout', 'raw_attention:block=[0,1],per_head=true')
    """
    return str(extractor)


def file_name(spelling: str) -> str:
    """Turn a spelling into a name that a file can have on every system; two spellings never share one.

    Example:
        >>> file_name("rollout:start_layer=1,rows=all")
        'rollout,start_layer=1,rows=all'
    """
    return quote(spelling.replace(":", ",", 1), safe=",=[]")


def closest_method(name: str) -> str:
    """Return '; did you mean "…"?' with the method whose name is most like the given one, or "" if none is."""
    return _hint(name, METHODS)


def _find(name: str) -> type[Extractor]:
    """The class of a method by its name, or by its import path."""
    if name in METHODS:
        return METHODS[name]
    if not re.fullmatch(r"\w+(\.\w+)+", name):
        raise InvalidValueError(f'no method "{name}"{closest_method(name)}\nMethods: {", ".join(METHODS)}')
    try:
        kind = locate(name)
    except ErrorDuringImport as error:
        raise InvalidValueError(f'method "{name}": {error}') from error
    if kind is None:
        raise InvalidValueError(
            f'method "{name}": there is no such class in the current folder or among the packages'
        )
    if not (isinstance(kind, type) and issubclass(kind, Extractor)) or inspect.isabstract(kind):
        raise InvalidValueError(f'method "{name}" is no concrete subclass of salvit.extractors.Extractor')
    return kind


def _hint(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _option(method: str, part: str) -> tuple[str, str]:
    option, _, value = (piece.strip() for piece in part.partition("="))
    if not (option and value):
        raise InvalidValueError(
            f"{method} should be NAME:OPTION=VALUE,OPTION=VALUE, and {part!r} is no OPTION=VALUE; several methods "
            "are separated by spaces"
        )
    return option, value


def _checked(kind: type[Extractor], option: str, value: object) -> Any:
    """A value of an option, of the option's type; text is read as YAML."""
    annotation = get_type_hints(kind.__init__)[option]
    try:
        # The parser takes None for an option that was not given, and would accept it.
        if value is None and NoneType not in get_args(annotation):
            raise ArgumentError(None, "")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(kind)
        return parser.parse_object({option: value})[option]
    except ArgumentError as error:
        given = value if isinstance(value, str) else repr(value)
        raise InvalidValueError(f"{option} should be {_expected(annotation)}; got {given}") from error


def _expected(annotation: Any) -> str:
    """What a person may give for a type."""
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(map(_expected, get_args(annotation)))
    if get_origin(annotation) is list:
        return f"a list such as [0,1] ({_expected(get_args(annotation)[0])} each)"
    return _KINDS.get(annotation, str(annotation))


def _readable(text: Any) -> str:
    """Return the text if it is a method, else raise ValueError."""
    if not isinstance(text, str):
        raise InvalidValueError("a method is text, such as rollout:rows=all")
    parse_method(text)
    return text


register_type(Spelling, serializer=str, deserializer=_readable, fail_already_registered=False)
