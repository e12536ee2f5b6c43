"""Black and white pictures of points and rectangles."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def points(seed: int, size: tuple[int, int], count: int = 6) -> NDArray[np.int64]:
    """Distinct points (x, y), in the order of a binary map: by row."""
    flat = np.sort(np.random.default_rng(seed).choice(size[0] * size[1], count, replace=False))
    return np.stack([flat % size[1], flat // size[1]], axis=1)


def point_map(points: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    values = np.zeros(size, dtype=np.uint8)
    values[points[:, 1], points[:, 0]] = 1
    return values


def write_grey(path: Path, values: NDArray[np.uint8], mode: str = "L", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path, **options)
    return path
