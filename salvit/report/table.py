"""The table of a run: a row per model, a column per metric, with the direction of better."""

from collections.abc import Mapping

from rich.table import Table

COLUMNS = {"CC": "↑", "NSS": "↑", "SIM": "↑", "KLD": "↓", "sAUC": "↑", "AUC": "↑"}
"""Metrics of a saliency table in order, and which way is better. KLD is in nats, NSS in standard deviations."""

Rows = Mapping[str, Mapping[str, float]]


def terminal_table(rows: Rows, title: str) -> Table:
    """A table for the terminal; the best score of each column is bold.

    Args:
        rows: scores by metric, by row name.
        title: above the table: dataset, release, profile, number of images.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name, arrow in COLUMNS.items():
        table.add_column(f"{name} {arrow}", justify="right")
    for name, scores in rows.items():
        table.add_row(name, *(f"[bold]{text}[/bold]" if best else text for text, best in cells(scores, rows)))
    return table


def markdown_table(rows: Rows) -> str:
    """The same table in Markdown.

    Args:
        rows: scores by metric, by row name.

    Example:
        >>> print(markdown_table({"ours": {"CC": 0.5}}))
        | model | CC ↑ | NSS ↑ | SIM ↑ | KLD ↓ | sAUC ↑ | AUC ↑ |
        |---|---|---|---|---|---|---|
        | ours | **0.500** | – | – | – | – | – |
    """
    header = "| model | " + " | ".join(f"{name} {arrow}" for name, arrow in COLUMNS.items()) + " |"
    lines = [header, "|---" * (len(COLUMNS) + 1) + "|"]
    for name, scores in rows.items():
        texts = (f"**{text}**" if best else text for text, best in cells(scores, rows))
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def cells(scores: Mapping[str, float], rows: Rows) -> list[tuple[str, bool]]:
    """A row's cells in the order of `COLUMNS`: the text, and whether it is the best of its column.

    Args:
        scores: the row's, by metric.
        rows: all rows of the table.
    """
    result = []
    for name, arrow in COLUMNS.items():
        column = [other[name] for other in rows.values() if name in other]
        if name not in scores:
            result.append(("–", False))
        else:
            best = max(column) if arrow == "↑" else min(column)
            result.append((f"{scores[name]:z.3f}", scores[name] == best))
    return result
