"""A tiny OSIE in its published layout."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from tests.datamodules.data.images import write_image

SIZE = (30, 40)


def subjects(number: int, size: tuple[int, int] = SIZE) -> list[NDArray[np.float64]]:
    """Fixations of three subjects as recorded: (x, y), fractional, 1-based; one has one, one none."""
    rng = np.random.default_rng(number)
    low, high = np.array([1.2, 1.2]), np.array([size[1] - 0.8, size[0] - 0.8])
    return [rng.uniform(low, high, (count, 2)).round(1) for count in (5, 1, 0)]


def _cell(elements: Sequence[object]) -> NDArray[np.object_]:
    cell = np.empty((len(elements), 1), dtype=object)
    cell[:, 0] = elements
    return cell


def write_fixations(path: Path, images: Mapping[str, Sequence[NDArray]]) -> Path:
    """fixations.mat: a cell array of structs, in which the subjects are again a cell array of structs."""
    entries = [
        {
            "img": name,
            "subjects": _cell(
                [{"fix_x": p[:, 0], "fix_y": p[:, 1], "fix_duration": np.full(len(p), 250.0)} for p in points]
            ),
        }
        for name, points in images.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"fixations": _cell(entries)}, oned_as="row", do_compression=True)
    return path


def make_osie(root: Path, images: int = 7) -> Path:
    numbers = range(1001, 1001 + images)
    for number in numbers:
        write_image(root / f"data/stimuli/{number}.jpg", SIZE, number)
    write_fixations(
        root / "data/eye/fixations.mat", {f"{number}.jpg": subjects(number) for number in numbers}
    )
    return root
