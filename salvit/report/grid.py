"""Pictures of one image side by side, each under its caption."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from salvit.report.pictures import label_font

_BOX = (320, 240)
_NARROWEST = 190  # of a cell, however tall its picture, so that captions have room
_GAP, _LINE = 10, 19
_TITLE, _NOTE = (0, 0, 0), (95, 95, 95)
PER_ROW = 5
"""Cells of a row, at most."""


class Cell(NamedTuple):
    """A picture, its title, and a remark in grey below that."""

    picture: Image.Image
    title: str
    note: str


def thumbnail(picture: Image.Image) -> Image.Image:
    """A picture in its proportions, as large as a cell holds.

    Example:
        >>> thumbnail(Image.new("RGB", (1000, 500))).size
        (320, 160)
    """
    scale = min(limit / side for limit, side in zip(_BOX, picture.size, strict=True))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def reflow(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Break one row of cells into rows of about equal length, of at most `PER_ROW` cells; none if there is no cell.

    Example:
        >>> blank = Image.new("RGB", (1, 1))
        >>> [len(row) for row in reflow([Cell(blank, "", "")] * 11)]
        [4, 4, 3]
    """
    rows = -(-len(cells) // PER_ROW)
    length = -(-len(cells) // max(1, rows))
    return [list(cells[start : start + length]) for start in range(0, len(cells), max(1, length))]


def grid(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    """Rows of pictures from `thumbnail` on white, each with its title and note above it, wrapped to the cell."""
    font = label_font()
    width = max(_NARROWEST, *(cell.picture.width for row in rows for cell in row))
    captions = [[_caption(cell, font, width) for cell in row] for row in rows]
    tops = [max(len(lines) for lines in row) * _LINE for row in captions]
    heights = [max(cell.picture.height for cell in row) for row in rows]
    across = max(len(row) for row in rows) * (width + _GAP) + _GAP
    down = sum(tops) + sum(heights) + _GAP + len(rows) * (_GAP + 4)
    canvas = Image.new("RGB", (across, down), "white")
    draw = ImageDraw.Draw(canvas)
    y = _GAP
    for row, lines_of_row, top, height in zip(rows, captions, tops, heights, strict=True):
        for column, (cell, lines) in enumerate(zip(row, lines_of_row, strict=True)):
            x = _GAP + column * (width + _GAP)
            for number, (text, colour) in enumerate(lines):
                draw.text((x, y + number * _LINE), text, fill=colour, font=font)
            canvas.paste(cell.picture, (x, y + top + 4))
        y += top + height + _GAP + 4
    return canvas


def _caption(cell: Cell, font: ImageFont.FreeTypeFont, width: int) -> list[tuple[str, tuple[int, int, int]]]:
    texts = ((cell.title, _TITLE), (cell.note, _NOTE))
    return [(line, colour) for text, colour in texts for line in _wrapped(text, font, width)]


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines that are no wider than a cell; a wider word is broken."""
    lines: list[str] = []
    for word in re.findall(r"\S+(?:\s[=<]\s\S+)*", text):  # "p = 0.650" is one
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        while font.getlength(word) > width:
            fits = next(n for n in range(len(word) - 1, 0, -1) if font.getlength(word[:n]) <= width or n == 1)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines
