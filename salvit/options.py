"""Objects that know their options."""

import inspect
from typing import Any

from salvit.errors import InvalidTypeError


class HasOptions:
    """Mixed into a class that stores its options under the names of its `__init__` parameters.

    Example:
        >>> class Blur(HasOptions):
        ...     def __init__(self, sigma=1.0, steps=3):
        ...         self.sigma, self.steps = sigma, steps
        >>> Blur(sigma=2.0), Blur(sigma=2.0).changed_options()
        (Blur(sigma=2.0, steps=3), {'sigma': 2.0})
    """

    def options(self) -> dict[str, Any]:
        """All options, by name.

        Raises:
            TypeError: if the class does not store one under its name.
        """
        names = list(_parameters(self))
        if lost := [name for name in names if not hasattr(self, name)]:
            raise InvalidTypeError(
                f"{type(self).__name__} must store its options under their names, as in self.{lost[0]} = {lost[0]}"
            )
        return {name: getattr(self, name) for name in names}

    def changed_options(self) -> dict[str, Any]:
        """The options that are not the default ones."""
        parameters = _parameters(self)
        return {name: value for name, value in self.options().items() if value != parameters[name].default}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options().items())})"


def _parameters(instance: object) -> dict[str, inspect.Parameter]:
    """The parameters of `__init__`, without `**options`."""
    parameters = inspect.signature(type(instance)).parameters
    return {name: one for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD}
