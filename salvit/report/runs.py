"""The runs under a folder, read from the files that the command line left there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from natsort import natsort_key


@dataclass(frozen=True)
class Run:
    """One command's log folder.

    Attributes:
        folder: where its files are.
        label: what sets it apart from the other runs of a report: the name it was logged under.
        record: `run.json`, see `salvit.callbacks.provenance.Provenance`.
        config: `config.yaml`, the whole resolved configuration.
    """

    folder: Path
    label: str
    record: dict[str, Any]
    config: dict[str, Any]

    @property
    def stage(self) -> str:
        """`fit`, `validate`, `test` or `predict`."""
        return str(self.record["stage"])

    @property
    def started(self) -> str:
        """When it started, in a form that sorts."""
        return str(self.record["started"])


def find_runs(root: Path) -> list[Run]:
    """Find the latest run of each label and stage.

    Args:
        root: a folder under which the loggers of the runs wrote.

    Returns:
        The runs in natural order of their labels (k=8 before k=16), then in order of time.

    Raises:
        FileNotFoundError: if there is no run.
    """
    runs = [_read(path.parent, root) for path in root.rglob("run.json")]
    if not runs:
        raise FileNotFoundError(
            f"no run under {root}: expected folders with a run.json, which `salvit fit` and `salvit test` write "
            "into the folder of their first logger"
        )
    latest = {(run.label, run.stage): run for run in sorted(runs, key=lambda run: run.started)}
    return sorted(latest.values(), key=lambda run: (natsort_key(run.label), run.started))


def _read(folder: Path, root: Path) -> Run:
    # A logger's folder is save_dir/name/version.
    name = folder.parent.relative_to(root).as_posix() if folder != root else folder.name
    label = (name if name != "." else root.resolve().name).replace("_", " ")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return Run(folder, label, record, yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
