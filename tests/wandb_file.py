"""Reads what an offline run of W&B has kept, as `wandb sync` would."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_WHOLE, _LAST = 1, 4  # kinds of fragments


class OfflineRun:
    """What is in the folder `offline-run-*` of a run.

    Attributes:
        about: the message `RunRecord`: its name, group, job type and tags.
        config: by key, as W&B shows it.
        summaries: of the metrics that were defined, "min", "max" and so on by name.
        history: all values of a key, in order.
        summary: by key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {}
        self.summaries: dict[str, set[str]] = {}
        self.history: dict[str, list[Any]] = {}
        self.summary: dict[str, Any] = {}
        self._media: dict[str, list[Path]] = {}
        [path] = folder.glob("*.wandb")
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.about = record.run
                _update(self.config, record.run.config.update)
            elif kind == "config":
                _update(self.config, record.config.update)
            elif kind == "metric":
                self.summaries[record.metric.name or record.metric.glob_name] = {
                    field.name for field, _ in record.metric.summary.ListFields()
                }
            elif kind == "summary":
                _update(self.summary, record.summary.update)
            elif kind == "artifact":
                files = {one.path: Path(one.local_path) for one in record.artifact.manifest.contents}
                [table] = [path for path in files if path.endswith(".table.json")]
                media = [file for path, file in files.items() if path.startswith("media/")]
                self._media[table.removesuffix(".table.json")] = media
            elif kind == "history":
                logged: dict[str, Any] = {}
                _update(logged, record.history.item)
                for key, value in logged.items():
                    self.history.setdefault(key, []).append(value)

    def table(self, key: str) -> list[dict[str, Any]]:
        """The rows of the last table that was logged under a key."""
        table = json.loads((self.folder / "files" / self.history[key][-1]["path"]).read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def pictures(self, key: str) -> list[Path]:
        """The files of the pictures in a table."""
        return self._media[key]


def records(path: Path) -> Iterator[Record]:
    """The records of a `.wandb` file: 7 bytes, then blocks of fragments as in LevelDB's log format."""
    content = path.read_bytes()
    position, fragments = 7, b""
    while position + 7 <= len(content):
        if (room := _BLOCK - position % _BLOCK) < 7:
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        fragments += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(fragments)
            fragments = b""


def _update(values: dict[str, Any], items: Any) -> None:
    for item in items:
        *path, last = item.nested_key or [item.key]
        place = values
        for key in path:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
