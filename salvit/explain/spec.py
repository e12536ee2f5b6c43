"""A method as it is typed: `rollout`, or `rollout:rows=all,start_layer=1`."""

import re
from typing import NamedTuple


class Spec(NamedTuple):
    """A method that was typed.

    Attributes:
        name: of the method.
        options: what was typed for each of its options.

    Example:
        >>> str(Spec("rise", (("masks", "500"), ("seed", "1"))))
        'rise:masks=500,seed=1'
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        options = ",".join(f"{option}={value}" for option, value in self.options)
        return f"{self.name}:{options}" if options else self.name


def parse_spec(text: str) -> Spec:
    """Read a method and its options.

    Args:
        text: `NAME` or `NAME:option=value,option=value`; commas within brackets belong to a value.

    Raises:
        ValueError: if it has another form, or an option twice.

    Example:
        >>> parse_spec("raw_attention:block=[0,1],rows=all").options
        (('block', '[0,1]'), ('rows', 'all'))
    """
    name, colon, typed = text.partition(":")
    options = [_option(text, part) for part in re.split(r",(?![^\[]*\])", typed)] if colon else []
    twice = [option for option, _ in options if [other for other, _ in options].count(option) > 1]
    if twice:
        raise ValueError(f"{text} has the option {twice[0]} twice")
    return Spec(name, tuple(options))


def _option(text: str, part: str) -> tuple[str, str]:
    option, equals, value = (piece.strip() for piece in part.partition("="))
    if not (option and equals and value):
        raise ValueError(
            f"{text} should be NAME:OPTION=VALUE,OPTION=VALUE, and {part!r} is no OPTION=VALUE; several methods are "
            "separated by spaces"
        )
    return option, value
