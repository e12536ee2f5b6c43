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
    """A batch of displays, structure of arrays; item 0 of every display is the target.

    Attributes:
        size: (H, W) of the images in pixels.
        count: [B] number of items, 4 … 12.
        shape: [B, M] index into `SHAPES`.
        centre: [B, M, 2] (x, y) of the items in pixels.
        radius: [B, M] in pixels.
        tilt: [B, M] rotation of the outline, radians.
        stripes: [B, M] orientation of the stripes inside, radians.
        stripe_depth: [B] contrast of the stripes, 0 (plain) … 1.
        colour: [B, M, 3] RGB in [0, 1].
        singleton: [B] index into `SINGLETONS`: the dimension in which the target is odd.
        ground: [B, 3] mean background colour.
        mixing: [B, 3, 3] how white noise becomes the background's correlated colours.
        slope: [B] exponent of the background's amplitude spectrum.
        grain: [B, 2] orientation (radians) and strength (0 … 1) of the background's anisotropy.
        noise: [B, 3, H, W] white noise from which the background is filtered.
        draws: [B, F] uniform numbers in [0, 1) from which the fixations are drawn.
    """

    size: tuple[int, int]
    count: NDArray[np.int64]
    shape: NDArray[np.int64]
    centre: Array
    radius: Array
    tilt: Array
    stripes: Array
    stripe_depth: Array
    colour: Array
    singleton: NDArray[np.int64]
    ground: Array
    mixing: Array
    slope: Array
    grain: Array
    noise: Array
    draws: Array

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
    batch = len(indices)
    scenes = Scenes(
        size=size,
        count=np.zeros(batch, np.int64),
        shape=np.zeros((batch, MAX_ITEMS), np.int64),
        centre=np.zeros((batch, MAX_ITEMS, 2), np.float32),
        radius=np.ones((batch, MAX_ITEMS), np.float32),
        tilt=np.zeros((batch, MAX_ITEMS), np.float32),
        stripes=np.zeros((batch, MAX_ITEMS), np.float32),
        stripe_depth=np.zeros(batch, np.float32),
        colour=np.zeros((batch, MAX_ITEMS, 3), np.float32),
        singleton=np.zeros(batch, np.int64),
        ground=np.zeros((batch, 3), np.float32),
        mixing=np.zeros((batch, 3, 3), np.float32),
        slope=np.zeros(batch, np.float32),
        grain=np.zeros((batch, 2), np.float32),
        noise=np.zeros((batch, 3, *size), np.float32),
        draws=np.zeros((batch, fixations), np.float32),
    )
    for row, index in enumerate(indices):
        rng = np.random.default_rng([seed, stream, index])
        _draw_items(rng, scenes, row)
        _draw_background(rng, scenes, row)
        scenes.draws[row] = rng.random(fixations, dtype=np.float32)
    return scenes


def _draw_items(rng: np.random.Generator, scenes: Scenes, row: int) -> None:
    count = int(rng.integers(4, MAX_ITEMS + 1))
    singleton = SINGLETONS[rng.integers(len(SINGLETONS))]
    unit = min(scenes.size) / UNIT
    scenes.count[row] = count
    scenes.singleton[row] = SINGLETONS.index(singleton)
    scenes.shape[row, :count] = _shapes(rng, count, odd=singleton == "shape")
    scenes.tilt[row, :count] = np.clip(rng.normal(0, 0.1, count), -0.35, 0.35)
    scenes.stripes[row, :count] = _stripes(rng, count, odd=singleton == "orientation")
    scenes.stripe_depth[row] = rng.uniform(0.6, 1) if singleton == "orientation" else rng.choice([0, 0.5])
    scenes.radius[row, :count] = unit * _radii(rng, count, odd=singleton == "size")
    scenes.centre[row, :count] = _centres(rng, scenes.size, scenes.radius[row, :count])
    scenes.ground[row], scenes.colour[row, :count] = _colours(rng, count, odd=singleton == "colour")


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


def _draw_background(rng: np.random.Generator, scenes: Scenes, row: int) -> None:
    grey = rng.uniform(0.5, 1.0)
    mixing = grey * np.full((3, 3), 1 / np.sqrt(3)) + (1 - grey) * rng.normal(0, 0.6, (3, 3))
    scenes.mixing[row] = rng.uniform(0.03, 0.1) * mixing
    scenes.slope[row] = rng.uniform(0.4, 1.6)
    scenes.grain[row] = rng.uniform(0, np.pi), rng.uniform(0, 1) * rng.integers(2)
    scenes.noise[row] = rng.standard_normal(scenes.noise.shape[1:], dtype=np.float32)
