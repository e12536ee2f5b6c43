"""A tiny P3 and a tiny O3 in their published layouts."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.datamodules.data.images import write_grey, write_image

SIZE = (64, 64)
TARGET = (8, 16, 24, 40)
DISTRACTORS = ((40, 8, 56, 24), (40, 40, 56, 56))
"""Rectangles (x0, y0, x1, y1) in pixels."""
PROPERTIES = "image\tcolor\ttexture\tshape\tsize\norchid.jpg\t1\t0\t1\t0\nowl.jpg\t0\t0\t0\t1\n"


def rectangles(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    values = np.zeros(SIZE, dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        values[y0:y1, x0:x1] = 255
    return values


def write_display(folder: Path, name: str, seed: int) -> None:
    """The masks are RGBA if PNG, grey if JPEG."""
    write_image(folder / "images" / name, SIZE, seed)
    mode = "RGBA" if name.endswith(".png") else "L"
    write_grey(folder / "targ_labels" / name, rectangles(TARGET), mode)
    write_grey(folder / "dist_labels" / name, rectangles(*DISTRACTORS), mode)


def make_p3o3(root: Path) -> Path:
    """A display of each feature, and two photographs."""
    for seed, folder in enumerate(("colors", "orientations", "sizes")):
        write_display(root / "P3" / folder, "image_circle_90_20.png", seed)
    for seed, name in enumerate(("orchid.jpg", "owl.jpg")):
        write_display(root / "O3", name, seed)
    (root / "O3/image_properties.txt").write_text(PROPERTIES)
    assert Image.open(root / "P3/colors/targ_labels/image_circle_90_20.png").mode == "RGBA"
    return root
