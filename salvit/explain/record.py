"""`explain.json`: how the results of a folder came about, and whether those of another run may join them."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from salvit import __version__
from salvit.explain.folder import RECORD
from salvit.explain.names import printable
from salvit.explain.parser import Options
from salvit.explain.task import Task
from salvit.files import atomic_write
from salvit.machine import device_name, machine, versions
from salvit.source import code_of, package_hash
from salvit.vit import describe_vit

Record = dict[str, Any]


def make_record(options: Options, task: Task) -> Record:
    """The command, and all that its maps depend on but the images.

    Args:
        options: the command line.
        task: what came of it.

    Returns:
        Plain values. Maps of one method, image and `settings_sha256` are the same maps.
    """
    vit = describe_vit(task.vit)
    settings = json.dumps([__version__, package_hash(), task.size, vit], sort_keys=True)
    return {
        "command": printable(shlex.join(["salvit", *options.command])),
        "model": task.model,
        "weights_sha256": vit["weights_sha256"],
        "input_size": list(task.size),
        "settings_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "methods": {name: repr(method) for name, method in task.methods.items()},
        "code": {name: code_of(method) for name, method in task.methods.items()},
        "left_out": dict(task.left_out),
        "machine": machine(),
        "device": device_name(task.device),
        "versions": versions(),
    }


def join_record(record: Record, out: Path) -> Record:
    """Add to a record the methods of the maps that are in its folder already.

    Args:
        record: of the run that is to write there.
        out: a folder with maps.

    Raises:
        ValueError: if those are by another model, other weights, at another input size, by another version or by
            a method of one's own whose code has changed.
    """
    earlier = _read(out / RECORD)
    if not earlier:
        raise ValueError(
            f"{out / RECORD} is missing or damaged, and it alone says what the maps in {out} are by: take another "
            "--out, or delete that folder"
        )
    if earlier["settings_sha256"] != record["settings_sha256"]:
        raise ValueError(
            f"{out} has maps by another model, other weights, another input size or another version of salvit "
            f"({earlier['model']}, input {_size(earlier)}): take another --out, or delete that folder"
        )
    for name, code in record["code"].items():
        if earlier["code"].get(name, code) != code:
            raise ValueError(
                f"{out} has maps of {name} as it was before its code changed: take another --out, or delete that folder"
            )
    return {**record, **{key: {**earlier[key], **record[key]} for key in ("methods", "code")}}


def write_record(record: Record, out: Path) -> None:
    """Write `explain.json`.

    Args:
        record: what to write.
        out: the folder.
    """
    with atomic_write(out / RECORD) as file:
        file.write((json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def _read(path: Path) -> Record:
    """What is in the file; nothing if it is missing or no record."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and "settings_sha256" in content else {}


def _size(record: Record) -> str:
    return "×".join(map(str, record["input_size"]))
