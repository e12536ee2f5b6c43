"""The methods by name: those of salvit, and those of other packages."""

import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

from salvit.errors import InvalidValueError

if TYPE_CHECKING:
    from salvit.extractors.base import Extractor

Method = TypeVar("Method", bound="type[Extractor]")

METHODS: dict[str, "type[Extractor]"] = {}
"""Class of each method by name."""

GROUP = "salvit.methods"
"""Entry points of this group are methods: `name = "package.module:Class"`."""


def register_method(name: str) -> Callable[[Method], Method]:
    """Give a class of extractors the name by which it is asked for everywhere.

    Args:
        name: letters, digits and underscores.

    Raises:
        ValueError: if the name has another form, or belongs to another class.

    Example:
        >>> from salvit.extractors import Rollout
        >>> METHODS["rollout"] is Rollout
        True
        >>> register_method("rollout")(int)
        Traceback (most recent call last):
        ValueError: the method name "rollout" belongs to salvit.extractors.rollout.Rollout
    """
    if not name.isidentifier():
        raise InvalidValueError(f'a method name has letters, digits and underscores only; got "{name}"')

    def register(kind: Method) -> Method:
        known = METHODS.setdefault(name, kind)
        if known is not kind:
            raise InvalidValueError(
                f'the method name "{name}" belongs to {known.__module__}.{known.__qualname__}'
            )
        return kind

    return register


def register_entry_points() -> None:
    """Register the methods of other packages; one that cannot be imported is left out with a warning."""
    for point in entry_points(group=GROUP):
        try:
            register_method(point.name)(point.load())
        except Exception as error:
            warnings.warn(f'the method "{point.name}" ({point.value}) is left out: {error}', stacklevel=2)
