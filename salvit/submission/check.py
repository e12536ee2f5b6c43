"""Checks of a submission: every map is there, readable, finite and as large as its image."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.special import logsumexp

from datamodules.base import Size
from salvit.errors import InvalidValueError
from salvit.submission.hdf5 import h5py
from salvit.submission.stimuli import file_of

TOLERANCE = 0.01
"""How far the logsumexp of a log density may be from 0, by the benchmark."""
HDF5_ENDINGS = (".h5", ".hdf5")
MAP_ENDINGS = (".npy", ".png", ".jpg", ".jpeg")


class SubmissionError(InvalidValueError):
    """A submission that a benchmark would refuse or score wrongly; the message lists every problem."""


def check_submission(path: Path, stimuli: Mapping[str, Size]) -> None:
    """Raise unless a folder of maps, or a file of log densities, is a submission for some stimuli.

    Args:
        path: a folder of maps, all of one kind (.npy, .png or .jpg), or an HDF5 file.
        stimuli: names and native (height, width), from `stimuli_of`.

    Raises:
        SubmissionError: listing, for every problem, the file and the remedy.
        ModuleNotFoundError: h5py is needed and not installed.
    """
    if path.is_dir():
        problems = list(_folder_problems(path, stimuli))
    elif path.is_file() and path.suffix.lower() in HDF5_ENDINGS:
        problems = list(_hdf5_problems(path, stimuli))
    else:
        endings = " or ".join(HDF5_ENDINGS)
        problems = [
            f"{path}: no such folder, nor a file that ends in {endings}: write it with salvit predict"
        ]
    if problems:
        raise SubmissionError(
            f"{path} is no submission for these {len(stimuli)} images; {len(problems)} problems:\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )


def _folder_problems(folder: Path, stimuli: Mapping[str, Size]) -> Iterator[str]:
    found = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    endings = sorted({path.suffix.lower() for path in found} & set(MAP_ENDINGS))
    if len(endings) != 1:
        kinds = f"maps of {len(endings)} kinds ({', '.join(endings)})" if endings else "no maps"
        yield f"{folder}: {kinds}; expected one of {', '.join(MAP_ENDINGS)}: keep one kind in a folder"
        return
    expected = {file_of(folder, name, endings[0]): name for name in stimuli}
    for path, name in expected.items():
        if path in found:
            yield from _map_problems(path, stimuli[name])
        else:
            yield f"{path}: missing, the map of {name}: run salvit predict again, with a folder that all nodes share"
    for path in sorted(found - expected.keys()):
        yield f"{path}: belongs to none of the {len(stimuli)} images: remove it"


def _map_problems(path: Path, size: Size) -> Iterator[str]:
    try:
        values = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _read_picture(path)
    except (OSError, ValueError, EOFError, UnidentifiedImageError) as error:
        yield f"{path}: cannot be read ({error}): write it again"
    else:
        yield from _value_problems(str(path), values, size)


def _read_picture(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        if picture.mode != "L":
            raise InvalidValueError(f"its pixels are {picture.mode}, not 8-bit grey")
        return np.asarray(picture)


def _value_problems(what: str, values: np.ndarray[Any, Any], size: Size) -> Iterator[str]:
    if values.shape != tuple(size):
        yield (
            f"{what}: is {'×'.join(map(str, values.shape))} but its image {size[0]}×{size[1]} (height×width): "
            "write it at the image's size"
        )
    if values.dtype.kind not in "fu":
        yield f"{what}: holds {values.dtype}; expected floats or 8-bit grey: write it again"
    elif not np.isfinite(values).all():
        yield f"{what}: has NaN or infinite values: look for a diverged model"


def _hdf5_problems(path: Path, stimuli: Mapping[str, Size]) -> Iterator[str]:
    try:
        file = h5py().File(path, "r")
    except OSError as error:
        yield f"{path}: cannot be read ({error}): write it again"
        return
    with file:
        names: set[str] = set()
        file.visititems(lambda name, item: names.add(name) if isinstance(item, h5py().Dataset) else None)
        for name, size in stimuli.items():
            if name in names:
                yield from _log_problems(f"{path}[{name!r}]", file[name][()], size)
            else:
                yield f"{path}[{name!r}]: missing: run salvit predict again, with a folder that all nodes share"
        for name in sorted(names - stimuli.keys()):
            yield f"{path}[{name!r}]: belongs to none of the {len(stimuli)} images: write the file again"


def _log_problems(what: str, logs: np.ndarray[Any, Any], size: Size) -> Iterator[str]:
    problems = list(_value_problems(what, logs, size))
    yield from problems
    if not problems and abs(total := float(logsumexp(logs.astype(np.float64)))) > TOLERANCE:
        yield (
            f"{what}: its logsumexp is {total:.3f}, not 0 ± {TOLERANCE}: subtract it, and mind that logarithms are "
            "natural ones"
        )
