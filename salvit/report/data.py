"""The data that the script of a page shows: tables, maps and attention as JSON."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from salvit.report.galleries import Gallery, Map
from salvit.report.tables import PUBLISHED, Comparison


def script_json(data: Any) -> str:
    r"""Data as JSON that is safe inside a script element; NaN and infinity become null.

    Example:
        >>> script_json({"</script>": [1.0, float("nan")]})
        '{"\\u003c/script\\u003e":[1.0,null]}'
    """
    text = json.dumps(_plain(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(float(value), 6) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def table_data(one: Comparison) -> dict[str, Any]:
    """A comparison: its rows, their means, and the differences of every two rows by their places in `compared`."""
    pairs: dict[str, dict[str, list[float]]] = {}
    compared = list(dict.fromkeys([*one.differences["row"], *one.differences["other"]]))
    place = {row: index for index, row in enumerate(compared)}
    known = one.differences[["score", "row", "other", "difference", "low", "high"]]
    for score, row, other, *numbers in known.itertuples(index=False):
        if score in one.table.columns:
            pairs.setdefault(str(score), {})[f"{place[row]},{place[other]}"] = numbers
    rows = [row for row in one.table.means.index if not row.endswith(PUBLISHED)]
    means = one.table.means.loc[rows]
    return {
        "title": one.table.title,
        "columns": dict(one.table.columns),
        "groups": {name: columns for name, columns in one.groups.items() if name != "all groups"},
        "rows": rows,
        "means": {name: means[name].tolist() for name in one.table.columns if name in means},
        "compared": compared,
        "differences": pairs,
    }


def gallery_data(gallery: Gallery) -> dict[str, Any]:
    """A gallery: its images, each with a map and the scores of every method."""
    methods = gallery.methods
    return {
        "title": gallery.title,
        "of": gallery.of,
        "columns": gallery.columns,
        "methods": methods,
        "images": [
            {
                "name": one.name,
                "photo": one.photo,
                "maps": [shaded(one.maps[method]) if method in one.maps else None for method in methods],
                "scores": {
                    score: [one.scores.get(method, {}).get(score) for method in methods]
                    for score in gallery.columns
                },
            }
            for one in gallery.pictures
        ],
    }


def shaded(saliency: Map) -> dict[str, Any]:
    """A map in 8 bits, from its minimum to its maximum; of a signed map only the positive part, as in overlays."""
    values = np.nan_to_num(saliency)
    if values.min() < 0 < values.max():
        values = values.clip(min=0)
    low, high = values.min(), values.max()
    shares = (values - low) / (high - low) if high > low else np.zeros_like(values)
    text = base64.b64encode((shares * 255 + 0.5).astype(np.uint8).tobytes()).decode()
    return {"g": list(saliency.shape), "v": text}
