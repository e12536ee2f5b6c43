"""A tiny Pascal VOC 2012 in its published layout."""

from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.datasets.voc2012 import CLASSES
from tests.datamodules.data.images import Box, write_rectangle
from tests.datamodules.data.xml import write_xml

PART = (
    "<difficult></difficult><part><name>head</name>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
)
"""What an object may have beside its name and box."""

IMAGES: dict[str, tuple[tuple[int, int], list[tuple[str, Box]]]] = {
    "2007_000001": ((40, 60), [("dog", (10, 5, 30, 25))]),
    "2007_000002": ((51, 37), [("cat", (4, 9, 33, 40)), ("cat", (0, 0, 37, 8))]),
    "2007_000003": ((40, 60), [("person", (2, 2, 20, 38)), ("dog", (22, 10, 58, 36))]),
    "2007_000004": ((45, 45), [("aeroplane", (5, 5, 40, 20))]),
}
"""(height, width) and the objects' names and boxes (edges, 0-based)."""


def write_class_mask(path: Path, size: tuple[int, int], objects: list[tuple[str, Box]]) -> Path:
    """Palette indices: 1 + class inside a box, 255 on its left column, 0 elsewhere."""
    values = np.zeros(size, dtype=np.uint8)
    for name, (x0, y0, x1, y1) in objects:
        values[y0:y1, x0:x1] = CLASSES.index(name) + 1
        values[y0:y1, x0] = 255
    image = Image.fromarray(values)
    image.putpalette(list(range(256)) * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def make_voc(root: Path) -> Path:
    """All images in val, the first two in train; the first has a segmentation."""
    folder = root / "VOCdevkit/VOC2012"
    for stem, (size, objects) in IMAGES.items():
        write_rectangle(folder / f"JPEGImages/{stem}.jpg", size, objects[0][1], quality=95)
        written = [
            (name, (x0 + 1, y0 + 1, x1, y1)) for name, (x0, y0, x1, y1) in objects
        ]  # 1-based, inclusive
        write_xml(folder / f"Annotations/{stem}.xml", size, written, extra=PART)
    write_class_mask(folder / "SegmentationClass/2007_000001.png", *IMAGES["2007_000001"])
    sets = folder / "ImageSets/Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("2007_000001\n2007_000002\n")
    (sets / "val.txt").write_text("\n".join(IMAGES) + "\n")
    (sets / "dog_val.txt").write_text(
        "".join(f"{stem} {'1' if stem.endswith('1') else '-1'}\n" for stem in IMAGES)
    )
    return root
