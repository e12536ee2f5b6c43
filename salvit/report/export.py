"""The report's numbers as files for other programs: CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from salvit.report.latex import latex
from salvit.report.tables import PUBLISHED, Comparison
from salvit.results import Table
from salvit.results.table import as_text


def parts_of(one: Comparison) -> list[Table]:
    """A comparison's tables, one per group of scores, without published rows that have none of its scores."""
    parts = []
    for group, columns in one.groups.items():
        means = one.table.means.reindex(columns=columns)
        rows = [row for row in means.index if not row.endswith(PUBLISHED) or means.loc[row].notna().any()]
        title = one.table.title if len(one.groups) == 1 else f"{one.table.title}; {group}"
        spread = None if one.table.spread is None else one.table.spread.reindex(columns=columns).loc[rows]
        known = {name: one.table.columns[name] for name in columns}
        parts.append(replace(one.table, title=title, columns=known, means=means.loc[rows], spread=spread))
    return parts


def long_scores(tables: Sequence[Comparison]) -> pd.DataFrame:
    """A row per table, row and score.

    Returns:
        `table`, `row`, `score`, `better` (higher or lower), `mean`, `low` and `high`, the ends of the 95 % bootstrap
        interval, `images`, and of published rows `ours_minus_published`.
    """
    lines = []
    for one in tables:
        for row in one.table.means.index:
            for score, arrow in one.table.columns.items():
                if score not in one.table.means or pd.isna(mean := one.table.means.at[row, score]):
                    continue
                better = "higher" if arrow == "↑" else "lower"
                interval = one.low.at[row, score], one.high.at[row, score], one.images.at[row, score]
                beyond = one.beyond_published(row, score)
                lines.append((one.table.title, row, score, better, mean, *interval, beyond))
    names = ["table", "row", "score", "better", "mean", "low", "high", "images", "ours_minus_published"]
    return pd.DataFrame(lines, columns=names)


def long_differences(tables: Sequence[Comparison]) -> pd.DataFrame | None:
    """The differences of all tables, with the column `table` first; None if there are none."""
    parts = [one.differences.assign(table=one.table.title) for one in tables if len(one.differences)]
    if not parts:
        return None
    return pd.concat(parts)[["table", "score", "row", "other", "difference", "low", "high", "images"]]


def markdown(tables: Sequence[Comparison], agreement: Mapping[str, pd.DataFrame]) -> str | None:
    """All tables in Markdown, and the matrices of agreement by the title of their images; None if there are none."""
    texts = []
    for one in tables:
        texts += [f"{as_text(part.title)}\n\n{part.markdown()}" for part in parts_of(one)]
        texts += [f"Published: {source}" for source in one.sources]
        texts += filter(None, [_beyond(one)])
    for title, matrix in agreement.items():
        table = Table("", dict.fromkeys(matrix.columns, ""), matrix, rows="method", apart=list(matrix.index))
        texts.append(
            f"Rank correlation of the maps, mean over images: {as_text(title)}\n\n{table.markdown()}"
        )
    return "\n\n".join(texts) + "\n" if texts else None


def tex(tables: Sequence[Comparison]) -> str | None:
    r"""All tables in LaTeX, for `\usepackage{booktabs}`; None if there are none."""
    texts = [latex(part) for one in tables for part in parts_of(one)]
    first = "% needs \\usepackage{booktabs}; mean and half the 95 % bootstrap interval over images"
    return "\n\n".join([first, *texts]) + "\n" if texts else None


def _beyond(one: Comparison) -> str:
    """Ours minus published, as a table."""
    rows = {
        row.removesuffix(PUBLISHED): {score: one.beyond_published(row, score) for score in one.table.columns}
        for row in one.table.means.index
        if row.endswith(PUBLISHED)
    }
    found = (
        pd.DataFrame.from_dict(rows, orient="index", dtype=float).dropna(how="all").dropna(axis=1, how="all")
    )
    if found.empty:
        return ""
    columns = {name: one.table.columns[name] for name in found.columns}
    table = Table("", columns, found, rows="ours − published", apart=list(found.index))
    return table.markdown()
