"""Small photographs-like images on disk."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    """Write smooth random colours: JPEG keeps them within a few levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)
    return path


def truncate(path: Path) -> Path:
    """Cut a file in half."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path
