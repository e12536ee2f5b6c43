"""Random numbers of sampled metrics: from the seed and the image alone."""

import hashlib
from collections.abc import Sequence

import numpy as np

from salvit.errors import InvalidValueError
from salvit.metrics.functional.fixations import Size


def image_key(pixels: np.ndarray, size: Size) -> int:
    """A number that stands for an image wherever and whenever it is scored: a hash of its fixated pixels.

    So a score is the same whatever else is in the batch, in any order, on any number of processes.

    Args:
        pixels: int64 [n], row-major index of the pixel under each fixation, in any order.
        size: (H, W) of the image.

    Returns:
        An unsigned number of 64 bits.

    Example:
        >>> image_key(np.array([3, 1]), (2, 3)) == image_key(np.array([1, 3]), (2, 3))
        True
        >>> image_key(np.array([1, 3]), (2, 3)) == image_key(np.array([1, 3]), (3, 2))
        False
    """
    numbers = np.concatenate([np.asarray(size), np.sort(pixels)]).astype("<i8")
    return int.from_bytes(hashlib.blake2b(numbers.tobytes(), digest_size=8).digest(), "little")


def generator(seed: int, key: int) -> np.random.Generator:
    """Random numbers of one image.

    Args:
        seed: of the whole evaluation, ≥ 0.
        key: of the image; see `image_key`.

    Raises:
        ValueError: The seed is negative.

    Example:
        >>> generator(0, 7).random() == generator(0, 7).random() != generator(1, 7).random()
        True
    """
    if seed < 0:
        raise InvalidValueError(f"seed is {seed}; expected a whole number ≥ 0")
    return np.random.default_rng([seed, key])


def check_sampling(splits: int, step: float) -> None:
    """Refuse numbers that make no sampled AUC.

    Args:
        splits: number of draws of negatives.
        step: between thresholds.

    Raises:
        ValueError: There are no splits, or the step is not in (0, 1].

    Example:
        >>> check_sampling(splits=100, step=0.1)
    """
    if splits < 1:
        raise InvalidValueError(f"splits is {splits}; expected at least 1")
    if not 0 < step <= 1:
        raise InvalidValueError(
            f"step is {step}; expected a distance of thresholds in (0, 1], as maps run from 0 to 1"
        )


def distinct(indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Pixels of the binary fixation map: each fixated pixel once, in order.

    Args:
        indices: row-major pixel of each fixation.

    Example:
        >>> distinct([4, 1, 4]).tolist()
        [1, 4]
    """
    return np.unique(np.asarray(indices, dtype=np.int64))
