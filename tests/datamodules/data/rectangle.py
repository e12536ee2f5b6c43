"""Photographs of one bright rectangle, whose place is known."""

from pathlib import Path

import numpy as np
import torch
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


def assert_boxes_enclose(dataset) -> None:
    """The first box of each sample encloses the bright rectangle; JPEG blurs its edges a little."""
    for sample in (dataset[index] for index in range(len(dataset))):
        bright = (sample["image"].mean(0) > 0.5).nonzero()
        edges = torch.cat([bright.amin(0).flip(0), bright.amax(0).flip(0) + 1]).float()
        assert (sample["boxes"][0] - edges).abs().max() <= 0.75
