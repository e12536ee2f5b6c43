"""Points of one image in an annotation file that covers all of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.dataset import Size
from datamodules.errors import CorruptFileError


def annotated_points(
    annotations: Mapping[str, NDArray[np.float64]], stem: str, path: Path, size: Size
) -> NDArray[np.float64]:
    """Look up one image's points, float64 [n, 2] of (x, y), in what was read from an annotation file.

    Raises:
        CorruptFileError: if the file does not mention the image.
    """
    if stem not in annotations:
        raise CorruptFileError(f"{path}: does not mention the image {stem}.")
    return annotations[stem]
