"""Options of a method from the text that was typed for them."""

import inspect

from salvit.explain.spec import Spec
from salvit.extractors import Extractor, find_method
from salvit.extractors.options import parsed_option


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
    method = find_method(spec.name)
    known = inspect.signature(method).parameters
    for option, _ in spec.options:
        if option not in known:
            raise ValueError(
                f"{spec}: {spec.name} has no option {option}; it has {', '.join(known) or 'none at all'}"
            )
    try:
        return method(**{option: parsed_option(method, option, text) for option, text in spec.options})
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from error
