"""The JSON file beside a weights file, which says what the weights are of."""

import json
import math
from pathlib import Path
from typing import Any

from salvit.errors import InvalidValueError

_OTHER_WEIGHTS = (
    "cache_dir",
    "checkpoint_path",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "weights",
)
_LAYOUT = '{"model": {arguments of the model}, "mean": […], "std": […]}'


def read_description(path: Path) -> dict[str, Any]:
    """Return what a description says, checked as far as it can be without the model.

    Args:
        path: of the JSON file.

    Raises:
        ValueError: if it is no JSON object or lacks "model", if "model" names other weights, or if "mean", "std" or
            "label_names" are not what they should be; the message names the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "vit.json")
        >>> _ = path.write_text('{"model": {"depth": 2}, "std": [0.5, 0.5, 0.0]}')
        >>> read_description(path)
        Traceback (most recent call last):
            ...
        ValueError: .../vit.json: "std" must be a list of positive numbers, one per channel; got [0.5, 0.5, 0.0]
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:  # of JSON, or of its characters
        raise InvalidValueError(f"{path} is not JSON ({error}); it should be like {_LAYOUT}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InvalidValueError(f'{path} must be a JSON object with "model" in it, like {_LAYOUT}')
    if others := [key for key in _OTHER_WEIGHTS if key in content["model"]]:
        raise InvalidValueError(
            f'{path}: "model" names other weights ({", ".join(others)}); a description is of the weights beside it'
        )
    for key, least, kind in (("mean", -math.inf, ""), ("std", 0.0, "positive ")):
        if content.get(key) is not None and not _are_numbers(content[key], above=least):
            raise InvalidValueError(
                f'{path}: "{key}" must be a list of {kind}numbers, one per channel; got {content[key]}'
            )
    names = content.get("label_names") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidValueError(f'{path}: "label_names" must be a list of names, one per class; got {names}')
    return content


def _are_numbers(values: Any, above: float) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(_is_number(value, above) for value in values)


def _is_number(value: Any, above: float) -> bool:
    return isinstance(value, int | float) and above < value < math.inf
