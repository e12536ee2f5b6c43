"""What was made, for the terminal: a row per image."""

from collections.abc import Sequence
from itertools import groupby

from rich.markup import escape
from rich.table import Table

from salvit.explain.index import Row

_SHOWN = 30


def summary(rows: Sequence[Row], title: str) -> Table:
    """A table for the terminal: what the model says of each image, what was explained, and its grid.

    Args:
        rows: of all maps, image by image.
        title: above the table.
    """
    images = [list(group) for _, group in groupby(rows, key=lambda row: row.name)]
    table = Table(title=escape(title), title_justify="left")
    for column in ("image", "predicted", "explained", "files"):
        table.add_column(column, overflow="fold")
    for of_image in images[:_SHOWN]:
        table.add_row(*(escape(cell) for cell in _cells(of_image)))
    if len(images) > _SHOWN:
        table.add_row(f"… and {len(images) - _SHOWN} more in explain.csv", "", "", "")
    return table


def _cells(rows: Sequence[Row]) -> tuple[str, str, str, str]:
    first = rows[0]
    explained = dict.fromkeys(
        _class(row.target, row.target_name, row.target_probability) for row in rows if row.target != ""
    )
    predicted = _class(first.predicted, first.predicted_name, first.probability)
    return (
        first.image,
        predicted or "–",
        "\n".join(explained) or "–",
        f"{first.grid}, {len(rows)} map{'s' * (len(rows) > 1)}",
    )


def _class(index: int | str, name: str, probability: float | str) -> str:
    if index == "":
        return ""
    return (f"{name} ({index})" if name else f"class {index}") + f", {shown_probability(probability)}"


def shown_probability(probability: float | str) -> str:
    """A probability as shown: three decimals, and not 0 if it is only small.

    Example:
        >>> shown_probability(0.8251), shown_probability(0.00004)
        ('p = 0.825', 'p < 0.001')
    """
    return f"p = {float(probability):.3f}" if float(probability) >= 0.0005 else "p < 0.001"
