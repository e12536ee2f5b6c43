"""Writing files so that an interrupt or a full disk leaves the old one or the new one, never half."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name only once it is complete.

    Args:
        path: of the file; its folder is made.

    Yields:
        A binary file beside `path`, renamed to it at the end or removed after an error.

    Raises:
        OSError: if it cannot be written; what was at `path` is still there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "new" / "a.txt") as file:
        ...         _ = file.write(b"whole")
        ...     (Path(folder) / "new" / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp makes files private; results are as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
