"""The files of results: each is complete or absent."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from salvit.results.atomic import atomic_write

Content: TypeAlias = str | bytes | dict[str, Any] | pd.DataFrame | Figure | Image.Image


def write(folder: str | Path, files: Mapping[str, Content | None]) -> None:
    """Write files into a folder, which is made if need be.

    Args:
        folder: of the files.
        files: by name: text, bytes, fields (JSON), a table (CSV: six decimals, empty where there is no value) or a
            picture (PNG); None writes no file.
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
    return content.encode()
