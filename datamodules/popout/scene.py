"""Scenes of pop-out displays, drawn from a seed and an index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHAPES = ("disc", "ring", "square", "triangle", "cross", "star", "heart", "crescent", "hourglass", "arrow")
SINGLETONS = ("colour", "orientation", "size", "shape")
MAX_ITEMS = 12
UNIT = 64.0  # lengths below are in pixels of a 64-pixel display and scale with the shorter image side

Array = NDArray[np.float32]


@dataclass
class Scenes:
    """A batch of B displays with room for M items; item 0 of every display is the target."""

    size: tuple[int, int]  # (H, W) of the images in pixels
    count: NDArray[np.int64]  # [B] number of items, 4 … 12
    shape: NDArray[np.int64]  # [B, M] index into `SHAPES`
    centre: Array  # [B, M, 2] (x, y) of the items in pixels
    radius: Array  # [B, M] in pixels
    tilt: Array  # [B, M] rotation of the outline, radians
    stripes: Array  # [B, M] orientation of the stripes inside, radians
    stripe_depth: Array  # [B] contrast of the stripes, 0 (plain) … 1
    colour: Array  # [B, M, 3] RGB in [0, 1]
    singleton: NDArray[np.int64]  # [B] index into `SINGLETONS`: the dimension in which the target is odd
    ground: Array  # [B, 3] mean background colour
    mixing: Array  # [B, 3, 3] how white noise becomes the background's correlated colours
    slope: Array  # [B] exponent of the background's amplitude spectrum
    grain: Array  # [B, 2] orientation (radians) and strength (0 … 1) of the background's anisotropy
    noise: Array  # [B, 3, H, W] white noise from which the background is filtered
    draws: Array  # [B, F] uniform numbers in [0, 1) from which the fixations are drawn

    @property
    def present(self) -> NDArray[np.bool_]:
        """[B, M] which item slots are used."""
        return np.arange(MAX_ITEMS)[None] < self.count[:, None]


def draw_scenes(seed: int, stream: int, indices: list[int], size: tuple[int, int], fixations: int) -> Scenes:
    """Draw the displays of ``indices``; each depends only on (seed, stream, index), not on its batch.

    Args:
        seed: seed of the dataset.
        stream: a different number for each split, so that splits share no display.
        indices: which displays.
        size: (H, W) in pixels.
        fixations: number of fixations per image.
    """
    displays = []
    for index in indices:
        rng = np.random.default_rng([seed, stream, index])
        drawn = _items(rng, size) | _background(rng, size)
        displays.append({**drawn, "draws": rng.random(fixations, dtype=np.float32)})
    return Scenes(size, **{key: np.stack([display[key] for display in displays]) for key in displays[0]})


def _items(rng: np.random.Generator, size: tuple[int, int]) -> dict[str, NDArray]:
    count = int(rng.integers(4, MAX_ITEMS + 1))
    singleton = int(rng.integers(len(SINGLETONS)))
    odd = SINGLETONS[singleton]
    shape = _shapes(rng, count, odd == "shape")
    tilt = np.clip(rng.normal(0, 0.1, count), -0.35, 0.35)
    stripes = _stripes(rng, count, odd == "orientation")
    depth = rng.uniform(0.6, 1) if odd == "orientation" else rng.choice([0, 0.5])
    radius = min(size) / UNIT * _radii(rng, count, odd == "size")
    centre = _centres(rng, size, radius)
    ground, colour = _colours(rng, count, odd == "colour")
    slots = {"centre": centre, "radius": radius, "tilt": tilt, "stripes": stripes, "colour": colour}
    return {
        "count": np.array(count),
        "singleton": np.array(singleton),
        "stripe_depth": np.array(depth, np.float32),
        "ground": ground,
        "shape": _padded(shape),
        **{key: _padded(values.astype(np.float32)) for key, values in slots.items()},
    }


def _padded(values: NDArray) -> NDArray:
    """Fill the slots of items that are not there with zeros."""
    return np.concatenate([values, np.zeros((MAX_ITEMS - len(values), *values.shape[1:]), values.dtype)])


def _shapes(rng: np.random.Generator, count: int, odd: bool) -> NDArray[np.int64]:
    """Target first; an odd shape stands among equal shapes, any other target among mixed ones."""
    target = rng.integers(len(SHAPES))
    others = rng.integers(1, len(SHAPES), size=1 if odd else count - 1)
    return np.concatenate([[target], np.broadcast_to((target + others) % len(SHAPES), count - 1)])


def _stripes(rng: np.random.Generator, count: int, odd: bool) -> Array:
    angles = rng.uniform(0, np.pi) + rng.normal(0, 0.08, count)
    if odd:
        angles[0] += np.pi / 2 + rng.uniform(-0.5, 0.5)
    return angles.astype(np.float32)


def _radii(rng: np.random.Generator, count: int, odd: bool) -> Array:
    """At most 7.2, so that even a tilted square stays inside its cell of 16 pixels."""
    if not odd:
        return (rng.uniform(5.4, 6.4) * rng.uniform(0.94, 1.06, count)).astype(np.float32)
    target, others = rng.choice([(7.2, 4.6), (4.0, 6.4)])
    radii = others * rng.uniform(0.94, 1.06, count)
    radii[0] = target
    return radii.astype(np.float32)


def _centres(rng: np.random.Generator, size: tuple[int, int], radii: Array) -> Array:
    """Distinct cells of a grid, with a jitter that keeps each item inside its cell."""
    height, width = size
    cell = min(size) / 4
    rows, columns = int(height // cell), int(width // cell)
    cells = rng.permutation(rows * columns)[: len(radii)]
    pitch = np.array([width / columns, height / rows])
    slack = np.maximum(pitch[None] / 2 - radii[:, None] - 0.5, 0)
    corners = np.stack([cells % columns, cells // columns], axis=1)
    jitter = rng.uniform(-1, 1, (len(radii), 2)) * slack
    return ((corners + 0.5) * pitch + jitter - 0.5).astype(np.float32)


def _colours(rng: np.random.Generator, count: int, odd: bool) -> tuple[Array, Array]:
    """(ground [3], items [count, 3]): items differ from the ground in luminance, an odd one in hue."""
    ground = rng.uniform(0.2, 0.8, 3)
    hue = rng.uniform(0, 1)
    hues = hue + rng.normal(0, 0.015, count)
    if odd:
        hues[0] += rng.uniform(0.28, 0.72)
    saturation = rng.uniform(0.45, 1.0) if odd else rng.uniform(0.0, 1.0)
    light = ground.mean() + rng.choice([-1, 1]) * rng.uniform(0.25, 0.42)
    light = np.clip(light if 0.08 < light < 0.92 else 2 * ground.mean() - light, 0.1, 0.9)
    return ground.astype(np.float32), _from_hue(hues, saturation, light)


def _from_hue(hue: NDArray[np.float64], saturation: float, light: float) -> Array:
    """HSL to RGB, [n] hues (period 1) → [n, 3]."""
    offset = np.array([0, 8, 4]) / 12
    k = ((hue[:, None] + offset) % 1) * 12
    amplitude = saturation * min(light, 1 - light)
    return (light - amplitude * np.clip(np.minimum(k - 3, 9 - k), -1, 1)).astype(np.float32)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> dict[str, Array]:
    grey = rng.uniform(0.5, 1.0)
    mixing = grey * np.full((3, 3), 1 / np.sqrt(3)) + (1 - grey) * rng.normal(0, 0.6, (3, 3))
    return {
        "mixing": (rng.uniform(0.03, 0.1) * mixing).astype(np.float32),
        "slope": np.array(rng.uniform(0.4, 1.6), np.float32),
        "grain": np.array([rng.uniform(0, np.pi), rng.uniform(0, 1) * rng.integers(2)], np.float32),
        "noise": rng.standard_normal((3, *size), dtype=np.float32),
    }
