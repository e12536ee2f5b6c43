"""A table to read, with the best of each column in bold, and the facts in its title."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from datamodules.base import SaliencyDataModule, Split

UNITS = {
    "KLD": "nats",
    "NSS": "standard deviations",
    "EMD": "pixels of maps 32 times smaller",
    "IG": "bits over the train split's center prior",
}


@dataclass(frozen=True)
class Table:
    """What a table shows.

    Attributes:
        title: everything that comparable scores have in common.
        columns: scores in order, and which direction is better, "↑" or "↓".
        means: a row per model, a column per score; a score that is missing or NaN is shown as "–".
        spread: the uncertainty of the means, in the same shape.
        rows: what a row is.
        apart: rows that do not compete, such as published ones.
    """

    title: str
    columns: Mapping[str, str]
    means: pd.DataFrame
    spread: pd.DataFrame | None = None
    rows: str = "model"
    apart: Collection[str] = field(default=())

    @property
    def header(self) -> list[str]:
        """The columns, with the direction that is better."""
        return [f"{name} {arrow}".rstrip() for name, arrow in self.columns.items()]

    def cell(self, row: str, column: str) -> tuple[str, str, bool]:
        """The mean and its spread, as text, and whether it is the best of its column.

        Example:
            >>> Table("", {"CC": "↑"}, pd.DataFrame({"CC": {"a": 0.5, "b": 0.25}})).cell("a", "CC")
            ('0.500', '', True)
        """
        if column not in self.means or pd.isna(mean := self.means.at[row, column]):
            return "–", "", False
        others = self.means[column].drop(list(self.apart), errors="ignore")
        best = others.max() if self.columns[column] == "↑" else others.min()
        off = float("nan") if self.spread is None else self.spread.at[row, column]
        is_best = row not in self.apart and bool(mean == best)
        return f"{mean:z.3f}", "" if pd.isna(off) else f"±{off:.3f}", is_best

    def markdown(self, spread: bool = True) -> str:
        """The table in Markdown, without its title.

        Example:
            >>> print(Table("", {"CC": "↑", "KLD": "↓"}, pd.DataFrame({"CC": {"ours": 0.5}})).markdown())
            | model | CC ↑ | KLD ↓ |
            |---|---|---|
            | ours | **0.500** | – |
        """
        body = [[as_text(row), *self._texts(row, "**", "**", spread)] for row in self.means.index]
        header = [self.rows, *map(as_text, self.header)]
        head, *rest = (f"| {' | '.join(line)} |" for line in [header, *body])
        return "\n".join([head, "|---" * (len(self.columns) + 1) + "|", *rest])

    def terminal(self, width: int, spread: bool = True) -> list[RichTable]:
        """The table for a terminal of some width: as many tables as it takes to cut off no column.

        Names longer than half the width continue in the next line.
        """
        texts = {row: self._texts(row, "[bold]", "[/bold]", spread) for row in self.means.index}
        names = min(max(map(len, texts), default=0), width // 2)
        room = width - names - 4
        parts: list[list[int]] = []
        used = room
        for index, name in enumerate(self.header):
            plain = (re.sub(r"\[/?bold\]", "", cells[index]) for cells in texts.values())
            needed = 3 + max(map(len, [name, *plain]))
            if used + needed > room:
                parts.append([])
                used = 0
            parts[-1].append(index)
            used += needed
        return [self._part(part, texts, names, title=part is parts[0]) for part in parts]

    def _part(self, indices: list[int], texts: Mapping[str, list[str]], names: int, title: bool) -> RichTable:
        table = RichTable(title=escape(self.title) if title else None, title_justify="left")
        table.add_column(self.rows, max_width=max(names, len(self.rows)), overflow="fold")
        for index in indices:
            table.add_column(escape(self.header[index]), justify="right", no_wrap=True)
        for row, cells in texts.items():
            table.add_row(
                escape(row), *(cells[index] for index in indices), style="dim" if row in self.apart else None
            )
        return table

    def _texts(self, row: str, opening: str, closing: str, spread: bool) -> list[str]:
        texts = []
        for column in self.columns:
            mean, off, best = self.cell(row, column)
            text = f"{mean} {off}" if spread and off else mean
            texts.append(f"{opening}{text}{closing}" if best else text)
        return texts


def as_text(name: str) -> str:
    r"""A name that Markdown shows as it is.

    Example:
        >>> print(as_text("<b>|k=[0,1]"))
        \<b>\|k=[0,1]
    """
    return re.sub(r"([\\|<*`])", r"\\\1", name)


def facts(data: "SaliencyDataModule", split: "Split", counted: Iterable[bool]) -> dict[str, Any]:
    """The fields of what was scored: `dataset`, `release` (or None), `split`, `images`, and `left_out`.

    `counted` says of every image that was scored whether it has fixations and a density; the others are left out.
    """
    counted = list(counted)
    return {
        "dataset": type(data).__name__.removesuffix("DataModule"),
        "release": getattr(data, "release", None),
        "split": data.split_name(split),
        "images": len(counted),
        "left_out": counted.count(False),
    }


def describe(about: dict[str, Any]) -> str:
    """The fields in words.

    Example:
        >>> about = {"dataset": "Salicon", "release": "2017", "split": "val", "images": 500, "left_out": 2}
        >>> describe(about)
        'Salicon layout 2017, val split, 2 of 500 images without fixations left out'
        >>> describe({"dataset": "OSIE", "split": "test", "images": 200})
        'OSIE, test split, 200 images'
    """
    release = f" layout {about['release']}" if about.get("release") else ""
    images = f"{about['images']} images"
    if left_out := about.get("left_out"):
        images = f"{left_out} of {images} without fixations left out"
    return f"{about['dataset']}{release}, {about['split']} split, {images}"


def title(about: dict[str, Any], profile: str, columns: Iterable[str]) -> str:
    """The title of a table of models: the fields, the profile, and the units of the columns.

    Example:
        >>> title({"dataset": "OSIE", "split": "test", "images": 200}, "exact", ["CC", "KLD"])
        'OSIE, test split, 200 images, profile exact (KLD in nats)'
    """
    columns = set(columns)
    units = ", ".join(f"{name} in {unit}" for name, unit in UNITS.items() if name in columns)
    return f"{describe(about)}, profile {profile} ({units})"
