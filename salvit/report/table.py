"""The table of a run: a row per model, a column per metric, with the direction of better."""

import re
from collections.abc import Mapping

from rich.table import Table

PROFILE_COLUMNS: dict[str, dict[str, str]] = {
    "exact": {"CC": "↑", "NSS": "↑", "SIM": "↑", "KLD": "↓", "sAUC": "↑", "AUC": "↑"},
    "mit": {
        "AUC-Judd": "↑",
        "SIM": "↑",
        "EMD": "↓",
        "AUC-Borji": "↑",
        "sAUC": "↑",
        "CC": "↑",
        "NSS": "↑",
        "KLD": "↓",
    },
    "tuebingen": {"IG": "↑", "AUC": "↑", "sAUC": "↑", "NSS": "↑", "CC": "↑", "KLD": "↓", "SIM": "↑"},
}
"""Metrics of a saliency table by profile, in order, and which way is better."""

COLUMNS = PROFILE_COLUMNS["exact"]
"""Those of the headline profile. KLD is in nats, NSS in standard deviations."""

UPPER_BOUND = "inter-observer"
"""The row of how well people predict people, with which no model competes."""

Rows = Mapping[str, Mapping[str, float]]


def columns_of(title: str) -> dict[str, str]:
    """The columns of the table under a title, which names its profile.

    Example:
        >>> list(columns_of("OSIE, 200 images, profile tuebingen (IG in bits)"))[:2]
        ['IG', 'AUC']
    """
    named = re.search(r"profile (\w+)", title)
    return PROFILE_COLUMNS.get(named[1], COLUMNS) if named else COLUMNS


def terminal_table(rows: Rows, title: str) -> Table:
    """A table for the terminal; the best score of each column is bold.

    Args:
        rows: scores by metric, by row name.
        title: above the table: dataset, release, profile, number of images.
    """
    columns = columns_of(title)
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name, arrow in columns.items():
        table.add_column(f"{name} {arrow}", justify="right")
    for name, scores in rows.items():
        texts = cells(scores, rows, columns)
        table.add_row(name, *(f"[bold]{text}[/bold]" if best else text for text, best in texts))
    return table


def markdown_table(rows: Rows, columns: Mapping[str, str] = COLUMNS) -> str:
    """The same table in Markdown.

    Args:
        rows: scores by metric, by row name.
        columns: metrics, and which way is better.

    Example:
        >>> print(markdown_table({"ours": {"CC": 0.5}}))
        | model | CC ↑ | NSS ↑ | SIM ↑ | KLD ↓ | sAUC ↑ | AUC ↑ |
        |---|---|---|---|---|---|---|
        | ours | **0.500** | – | – | – | – | – |
    """
    header = "| model | " + " | ".join(f"{name} {arrow}" for name, arrow in columns.items()) + " |"
    lines = [header, "|---" * (len(columns) + 1) + "|"]
    for name, scores in rows.items():
        texts = (f"**{text}**" if best else text for text, best in cells(scores, rows, columns))
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def cells(
    scores: Mapping[str, float], rows: Rows, columns: Mapping[str, str] = COLUMNS
) -> list[tuple[str, bool]]:
    """A row's cells in the order of the columns: the text, and whether it is the best of its column.

    Args:
        scores: the row's, by metric.
        rows: all rows of the table.
        columns: metrics, and which way is better.
    """
    result = []
    for name, arrow in columns.items():
        column = [other[name] for row, other in rows.items() if name in other and row != UPPER_BOUND]
        if name not in scores:
            result.append(("–", False))
        else:
            best = (max if arrow == "↑" else min)(column, default=None)
            bold = scores[name] == best and scores is not rows.get(UPPER_BOUND)
            result.append((f"{scores[name]:z.3f}", bold))
    return result
