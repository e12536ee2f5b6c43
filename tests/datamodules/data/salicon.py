"""A tiny SALICON in the layouts of its two releases."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from tests.datamodules.data.images import write_image, write_noise

SIZE = (48, 64)


def stem(split: str, number: int) -> str:
    return f"COCO_{split}2014_{number:012d}"


def observers(number: int, size: tuple[int, int] = SIZE) -> list[NDArray[np.uint16]]:
    """Fixations of three observers as recorded: [x, y], 1-based, unsigned."""
    rng = np.random.default_rng(number)
    return [rng.integers(1, (size[1] + 1, size[0] + 1), (count, 2)).astype(np.uint16) for count in (4, 1, 6)]


def write_gaze(path: Path, fixations: Sequence[NDArray], size: tuple[int, int] = SIZE) -> Path:
    gaze = np.empty((len(fixations), 1), dtype=[("location", "O"), ("timestamp", "O"), ("fixations", "O")])
    for index, points in enumerate(fixations):
        trace = np.full((9, 2), -3.5)
        gaze[index, 0] = (trace, np.arange(9.0)[:, None], points)
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {"image": path.stem, "resolution": np.array([size], dtype=np.uint16), "gaze": gaze}
    savemat(path, contents, do_compression=True)
    return path


def make_salicon(
    root: Path, train: int = 3, val: int = 2, test: int = 0, fixations: str = "fixations/{split}"
) -> Path:
    """The 2017 release: images, 8-bit maps, one .mat of gaze per image; the test split is images only."""
    for split, count in (("train", train), ("val", val)):
        for number in range(1, count + 1):
            name = stem(split, number)
            write_image(root / f"images/{split}/{name}.jpg", SIZE, number)
            write_noise(root / f"maps/{split}/{name}.png", SIZE, number)
            write_gaze(root / fixations.format(split=split) / f"{name}.mat", observers(number))
    for number in range(1, test + 1):
        write_image(root / f"images/test/{stem('test', number)}.jpg", SIZE, number)
    return root


def make_salicon_2015(root: Path, train: int = 3, val: int = 2, folder: str = "annotations") -> Path:
    """The 2015 release: images, and per split one JSON of [row, column], one annotation per observer."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", val)):
        numbers = range(1, count + 1)
        for number in numbers:
            write_image(root / f"images/{split}/{stem(split, number)}.jpg", SIZE, number)
        contents = {
            "info": {"version": "1.0"},
            "images": [
                {"id": number, "file_name": f"{stem(split, number)}.jpg", "height": SIZE[0], "width": SIZE[1]}
                for number in numbers
            ],
            "annotations": [
                {"image_id": number, "worker_id": worker, "fixations": points[:, ::-1].tolist()}
                for number in numbers
                for worker, points in enumerate(observers(number))
            ],
        }
        (root / folder / f"fixations_{split}2014.json").write_text(json.dumps(contents))
    return root
