"""Writing files so that an interrupt or a full disk leaves the old one or the new one, never half."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from salvit.errors import CannotWriteError, InvalidValueError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name only once it is complete; its folder is made.

    Yields:
        A binary file beside `path`, renamed to it at the end or removed after an error.

    Raises:
        OSError: It cannot be written; the message names `path`, and an earlier file is still there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "new" / "a.txt") as file:
        ...         _ = file.write(b"whole")
        ...     (Path(folder) / "new" / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not named after the file, whose name may be as long as names can be.
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp makes files private; results are as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)
        Path(part).replace(path)
    except OSError as error:
        Path(part).unlink(missing_ok=True)
        if error.filename not in (None, part):  # about another file, which the caller reads
            raise
        raise _cannot_write(path, error) from error
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def append(path: str | Path, content: bytes) -> None:
    """Add to the end of a file, which is made if need be with its folder: all, or nothing if the disk is full.

    Raises:
        OSError: It cannot be written; the message names `path`, and the file is as before.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     append(Path(folder) / "a.txt", b"one ")
        ...     append(Path(folder) / "a.txt", b"two")
        ...     (Path(folder) / "a.txt").read_text()
        'one two'
    """
    path = Path(path)
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            end, rest = file.tell(), memoryview(content)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Name a file in the errors of a library that writes it.

    Raises:
        OSError: It cannot be written; the message names `path`.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error, CannotWriteError):
            raise
        raise _cannot_write(Path(path), error) from error


def output_path(folder: str | Path, name: str, ending: str) -> Path:
    """Path of a result in a folder, from the name of an image; a "/" in the name makes a folder.

    Raises:
        ValueError: The file would lie outside the folder.

    Example:
        >>> output_path("maps", "Action/001", ".png").as_posix()
        'maps/Action/001.png'
    """
    below = Path(f"{name}{ending}")
    if below.anchor or ".." in below.parts:
        raise InvalidValueError(
            f"the results of {name!r} would be written outside {folder}: rename it in its dataset."
        )
    return Path(folder, below)


def _cannot_write(path: Path, error: OSError) -> OSError:
    # If the disk fills up within an array, numpy says only how much was written.
    return CannotWriteError(f"cannot write {path}: {error.strerror or f'{error} (is the disk full?)'}")
