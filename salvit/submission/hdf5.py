"""Log densities in an HDF5 file: one dataset per stimulus, named as its file."""

import io
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salvit.errors import InvalidValueError, MissingExtraError
from salvit.results.atomic import named

REMEDY = "log densities need h5py: pip install 'salvit[export]', or leave them out with SubmissionWriter(hdf5=False)"


def h5py() -> Any:
    """The package h5py; ModuleNotFoundError, which names the extra, if it is not installed."""
    try:
        return import_module("h5py")
    except ModuleNotFoundError as error:
        raise MissingExtraError(REMEDY, name="h5py") from error


def log_density(density: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Natural logarithm of a map's share of its sum.

    Args:
        density: [H, W], positive.

    Returns:
        float32 [H, W], whose logsumexp is 0 up to about 1e-6.

    Raises:
        ValueError: if a value is not positive and finite.

    Example:
        >>> np.exp(log_density(np.array([[1.0, 3.0]])))
        array([[0.25, 0.75]], dtype=float32)
    """
    values = density.astype(np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise InvalidValueError("a density has values that are not positive and finite: it has no logarithm")
    return np.log(values / values.sum()).astype(np.float32)


def write_hdf5(path: Path, densities: Iterable[tuple[str, NDArray[np.floating[Any]]]]) -> None:
    """Write the log densities of stimuli, one in memory at a time; the file is whole or absent.

    Args:
        path: of the file; its folder is there.
        densities: names and positive maps [H, W]; a "/" in a name is a group of the file.

    Raises:
        ModuleNotFoundError: h5py is not installed.
        ValueError: if a map is not positive and finite; the message names it.
        OSError: it cannot be written; the message names it.
    """
    package = h5py()
    # Not atomic_write: HDF5 opens files itself, by name.
    with named(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        part = Path(folder) / path.name
        with _Tolerant(part, "w+b") as out, package.File(out, "w") as file:
            for name, density in densities:
                try:
                    logs = log_density(density)
                except ValueError as error:
                    raise InvalidValueError(f"{name}: {error}") from error
                file.create_dataset(name, data=logs, compression="gzip", compression_opts=1, shuffle=True)
                if out.error is not None:
                    break
        if out.error is not None:
            raise out.error
        part.replace(path)


class _Tolerant(io.FileIO):
    """A file that keeps its first error instead of raising it: HDF5 ends the process where it cannot write.

    Attributes:
        error: what went wrong.
    """

    error: OSError | None = None

    def truncate(self, size: int | None = None) -> int:
        """Give the file a size."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = error
            return self.tell()

    def write(self, content: Any) -> int:
        """Write all of it."""
        rest = memoryview(content)
        try:
            while self.error is None and rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return len(content)
