"""Annotations as Pascal VOC and ImageNet write them."""

from collections.abc import Sequence
from pathlib import Path

Object = tuple[str, tuple[float, float, float, float]]


def write_xml(path: Path, size: tuple[int, int], objects: Sequence[Object], extra: str = "") -> Path:
    """Write (name, (xmin, ymin, xmax, ymax)) as given; ``extra`` goes into every object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = "".join(
        f"<object><name>{name}</name>{extra}<pose>Unspecified</pose><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    height, width = size
    path.write_text(
        f"<annotation><folder>x</folder><filename>{path.stem}</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"<segmented>0</segmented>{items}</annotation>\n"
    )
    return path
