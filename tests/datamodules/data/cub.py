"""A tiny CUB-200-2011 in its published layout."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tests.datamodules.data.images import Box, write_rectangle

IMAGES: dict[str, tuple[tuple[int, int], Box, int, int]] = {
    "001.Black_footed_Albatross/Black_Footed_Albatross_0001_1": ((40, 60), (10, 5, 30, 25), 1, 1),
    "001.Black_footed_Albatross/Black_Footed_Albatross_0002_2": ((51, 37), (4, 9, 33, 40), 1, 0),
    "002.Laysan_Albatross/Laysan_Albatross_0001_3": ((40, 60), (22, 10, 58, 36), 2, 1),
    "002.Laysan_Albatross/Laysan_Albatross_0002_4": ((45, 45), (5, 5, 40, 20), 2, 0),
}
"""(height, width), box (edges, 0-based), class (1-based) and whether it is in train."""


def write_table(path: Path, rows: Mapping[int, str]) -> None:
    path.write_text("".join(f"{number} {value}\n" for number, value in rows.items()))


def make_cub(root: Path, segmentations: str | None = "segmentations") -> Path:
    """The archive's folder, and the segmentations of the other archive where asked for."""
    folder = root / "CUB_200_2011"
    for name, (size, box, *_) in IMAGES.items():
        write_rectangle(folder / f"images/{name}.jpg", size, box, quality=95)
        if segmentations:
            x0, y0, x1, y1 = box
            values = np.zeros(size, dtype=np.uint8)
            values[y0:y1, x0:x1] = 102  # two of five annotators
            values[y0:y1, x0 + 2 : x1] = 153  # three of them
            path = root / segmentations / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    images = dict(enumerate(IMAGES, start=1))
    write_table(folder / "images.txt", {number: f"{name}.jpg" for number, name in images.items()})
    write_table(folder / "classes.txt", {1: "001.Black_footed_Albatross", 2: "002.Laysan_Albatross"})
    boxes = {number: IMAGES[name][1] for number, name in images.items()}
    write_table(
        folder / "bounding_boxes.txt",
        {n: f"{x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}" for n, (x0, y0, x1, y1) in boxes.items()},
    )
    for name, column in (("image_class_labels", 2), ("train_test_split", 3)):
        write_table(folder / f"{name}.txt", {n: str(IMAGES[key][column]) for n, key in images.items()})
    return root
