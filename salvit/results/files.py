"""The files of results: each is complete or absent."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from datamodules.base import printable
from salvit.results.atomic import atomic_write

_FORMULA = re.compile(r"(?![+-]?[\d.]+(e[+-]?\d+)?$)'*[=+\-@]")
_QUOTED = re.compile(r"'('*[=+\-@])")

Content: TypeAlias = str | bytes | dict[str, Any] | pd.DataFrame | Figure | Image.Image


def write(folder: str | Path, files: Mapping[str, Content | None]) -> None:
    """Write files into a folder, which is made if need be.

    Args:
        folder: of the files.
        files: by name: text, bytes, fields (JSON), a table (CSV: six decimals, empty where there is no value; an
            apostrophe before names that begin with = + - or @, which spreadsheets would run as formulas; `read_csv`
            takes it away again) or a picture (PNG); None writes no file. What is not UTF-8 becomes "?".
    """
    for name, content in files.items():
        if content is not None:
            with atomic_write(Path(folder) / name) as file:
                file.write(encoded(content))


def encoded(content: Content) -> bytes:
    """The bytes of a file with this content; see `write`."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, pd.DataFrame):
        names = content.select_dtypes(exclude=["number", "bool"])
        content = content.assign(**{column: names[column].astype(object).map(_as_text) for column in names})
        content = content.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    elif isinstance(content, dict):
        content = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    elif isinstance(content, Figure | Image.Image):
        png = io.BytesIO()
        if isinstance(content, Figure):
            content.savefig(png, format="png", dpi=130)
        else:
            content.save(png, format="PNG")
        return png.getvalue()
    return content.encode(errors="replace")


def read_csv(path: str | Path, **options: Any) -> pd.DataFrame:
    r"""Read a table that `write` has written, with options of pandas.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(folder, {"a.csv": pd.DataFrame({"image": ["=1+1", "-1", "'"]})})
        ...     Path(folder, "a.csv").read_text(), read_csv(Path(folder, "a.csv"))["image"].tolist()
        ("image\n'=1+1\n-1\n'\n", ['=1+1', '-1', "'"])
    """
    table: pd.DataFrame = pd.read_csv(path, **options)
    names = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(**{column: names[column].map(_as_written) for column in names})


def _as_text(cell: Any) -> Any:
    """A name in a table: with an apostrophe before what a spreadsheet would run as a formula."""
    if not isinstance(cell, str):
        return cell
    name = printable(cell)
    return f"'{name}" if _FORMULA.match(name) else name


def _as_written(cell: Any) -> Any:
    """Take that apostrophe away."""
    return cell[1:] if isinstance(cell, str) and _QUOTED.match(cell) else cell


def file_hash(path: Path) -> str:
    """The SHA-256 of a file: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
