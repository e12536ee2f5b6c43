"""The report of a folder of runs, written as a page and its parts."""

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from salvit.files import atomic_write
from salvit.report.page import build_page
from salvit.report.pictures import panel
from salvit.report.report import Report
from salvit.report.table import columns_of, markdown_table


def write_report(report: Report, folder: Path) -> None:
    """Write `index.html`, which links to nothing, and its parts: `scores.md`, `pictures.png`, `curves.png`.

    Parts that the report lacks are not written.

    Args:
        report: from `read_report`.
        folder: where to.
    """
    tables = [
        f"{scores.title}\n\n{markdown_table(scores.means, columns_of(scores.title))}\n"
        for scores in report.tables
    ]
    parts = {
        "scores.md": "\n".join(tables).encode(),
        "pictures.png": _side_by_side(report.pictures),
        "curves.png": report.curves,
        "index.html": build_page(report).encode(),
    }
    for name, content in parts.items():
        if content:
            with atomic_write(folder / name) as file:
                file.write(content)


def _side_by_side(panels: Mapping[str, bytes]) -> bytes | None:
    if not panels:
        return None
    pictures = [Image.open(io.BytesIO(content)) for content in panels.values()]
    png = io.BytesIO()
    panel([pictures], list(panels), height=max(picture.height for picture in pictures)).save(
        png, format="PNG"
    )
    return png.getvalue()
