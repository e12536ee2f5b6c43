"""Results per image on disk, so that a run that was interrupted goes on where it stopped."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from salvit.results.atomic import append, atomic_write

Record = dict[str, Any]


class Store:
    """Records by image name, one file per process and line per image, added batch by batch.

    A line is complete or ignored: what an interrupt or a full disk cut off is computed again. Each description of what
    was computed, in plain values, has another folder, which is made when the first record is added.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Store(Path(folder), {"seed": 0}).add([("a.jpg", {"score": 0.5})], rank=0)
        ...     Store(Path(folder), {"seed": 0}).read(), Store(Path(folder), {"seed": 1}).read()
        ({'a.jpg': {'score': 0.5}}, {})
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self.description = json.dumps(description, sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(self.description.encode()).hexdigest()[:16]

    def read(self) -> dict[str, Record]:
        """Records by image name, of all processes that ever added some."""
        records: dict[str, Record] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:  # cut off by an interrupt
                    continue
                records[record.pop("name")] = record
        return records

    def add(self, records: Iterable[tuple[str, Record]], rank: int) -> None:
        """Add the records of a batch, by image name, in plain values, to the file of this process.

        Raises:
            OSError: It cannot be written; the message names it, and the records before are there.
        """
        about = self.folder / "description.json"
        if not about.is_file():
            with atomic_write(about) as file:
                file.write(f"{self.description}\n".encode())
        # A line that was cut off has no end: the next one must not be joined to it.
        lines = "".join(f"\n{json.dumps({'name': name, **record})}" for name, record in records)
        append(self.folder / f"rank{rank}.jsonl", lines.encode())
