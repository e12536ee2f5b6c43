"""Small pictures on disk: smooth colours, points, and bright rectangles."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Box = tuple[int, int, int, int]


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


def write_noise(path: Path, size: tuple[int, int], seed: int, **options) -> Path:
    """Write grey noise, such as a density map may be."""
    values = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    return write_grey(path, values, **options)


def assert_density(density, path: Path) -> None:
    """It is the picture, divided by its sum."""
    with Image.open(path) as picture:
        values = np.asarray(picture, dtype=float)
    assert np.allclose(density, values / values.sum(), rtol=1e-5)


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


def names(data, split: str = "val") -> list[str]:
    """Of a split's stimuli, in order."""
    return [stimulus.name for stimulus in data.dataset(split).stimuli]


def same(one, other) -> bool:
    """Whether two samples or batches are equal."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
