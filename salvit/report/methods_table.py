"""Tables of methods: a row per method, means over images with their 95 % bootstrap intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rich.table import Table
from torch import Tensor

from salvit.metrics.functional.bootstrap import bootstrap_interval


class Cell(NamedTuple):
    """A score: its mean over images, and the ends of the 95 % interval (NaN where there is none)."""

    mean: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def text(self) -> str:
        """Mean and half the interval's width."""
        if self.mean != self.mean:
            return "–"
        spread = "" if self.low != self.low else f" ±{(self.high - self.low) / 2:.3f}"
        return f"{self.mean:z.3f}{spread}"


@dataclass(frozen=True)
class MethodsTable:
    """One table.

    Attributes:
        title: what is scored.
        columns: names, and which way is better.
        rows: cells by column, by method; rows of papers come last.
        published: names of the rows that are not ours.
    """

    title: str
    columns: Mapping[str, str]
    rows: Mapping[str, Mapping[str, Cell]]
    published: frozenset[str] = frozenset()

    def terminal(self, width: int) -> list[Table]:
        """For a terminal of some width: as many tables as its columns need; the best of ours is bold."""
        return [self._part(names, part) for part, names in enumerate(self._parts(width))]

    def _parts(self, width: int) -> list[list[str]]:
        """Columns that fit beside the methods' names; none is ever cut off."""
        room = width - max(map(len, self.rows), default=0) - 4
        parts: list[list[str]] = [[]]
        used = 0
        for name in self.columns:
            texts = (row[name].text for row in self.rows.values() if name in row)
            needed = 3 + max(len(name) + 2, *map(len, texts), 1)
            if parts[-1] and used + needed > room:
                parts.append([])
                used = 0
            parts[-1].append(name)
            used += needed
        return parts

    def _part(self, names: list[str], part: int) -> Table:
        table = Table(title=None if part else self.title, title_justify="left")
        table.add_column("method", no_wrap=True)
        for name in names:
            table.add_column(f"{name} {self.columns[name]}", justify="right", no_wrap=True)
        for method, row in self.rows.items():
            style = "dim" if method in self.published else None
            cells = (self._cell(method, row, name, "[bold]", "[/bold]") for name in names)
            table.add_row(method, *cells, style=style)
        return table

    def markdown(self) -> str:
        """The same in Markdown."""
        header = "| method | " + " | ".join(f"{name} {arrow}" for name, arrow in self.columns.items()) + " |"
        lines = [f"**{self.title}**", "", header, "|---" * (len(self.columns) + 1) + "|"]
        for method, row in self.rows.items():
            cells = " | ".join(self._cell(method, row, name, "**", "**") for name in self.columns)
            lines.append(f"| {method} | {cells} |")
        return "\n".join(lines)

    def _cell(self, method: str, row: Mapping[str, Cell], column: str, opening: str, closing: str) -> str:
        if column not in row:
            return "–"
        best = method not in self.published and row[column].mean == self._best(column)
        return f"{opening}{row[column].text}{closing}" if best else row[column].text

    def _best(self, column: str) -> float:
        ours = [
            row[column].mean
            for method, row in self.rows.items()
            if method not in self.published and column in row
        ]
        ours = [mean for mean in ours if mean == mean]
        if not ours:
            return float("nan")
        return max(ours) if self.columns[column] == "↑" else min(ours)


def cell(mean: float, per_image: Tensor | None) -> Cell:
    """Make a cell.

    Args:
        mean: over images.
        per_image: [n], what it is the mean of; None if it is not a mean over images.

    Example:
        >>> import torch
        >>> cell(0.5, torch.tensor([0.0, 1.0] * 50)).text
        '0.500 ±0.100'
    """
    return Cell(mean) if per_image is None else Cell(mean, *bootstrap_interval(per_image))
