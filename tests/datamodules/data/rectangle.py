"""Photographs of one bright rectangle, whose place is known."""

from pathlib import Path

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]


def write_rectangle(path: Path, size: tuple[int, int], box: Box, bright: int = 255, **options) -> Path:
    """Write a black image of (height, width) that is bright inside (x0, y0, x1, y1), x1 and y1 exclusive."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = bright
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
