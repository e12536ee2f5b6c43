"""The record of a run, beside its results: command, versions, machine and time."""

import shlex
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salvit.results.files import file_hash, write
from salvit.results.machine import device_name, machine, versions


class Provenance(Callback):
    """Writes `run.json` in the log folder when a stage starts, and again, with the seconds it took, when it ends.

    Fields: `command`, `stage`, `name` of the experiment, `model`, `checkpoint` (absolute path, or None) and
    `checkpoint_sha256`, `continues` (the folder of the fit that this fit resumes, or None), `untrained`, `started`
    (local time, ISO 8601), `seconds` (None until the end), `machine`, `device` and `versions`.

    Args:
        arguments: what was typed after the program's name.
        name: name of the experiment.
        checkpoint: the file that the weights are from.
        untrained: whether the user asked for random weights.
        continues: folder of the fit that is resumed.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        name: str | None = None,
        checkpoint: Path | None = None,
        untrained: bool = False,
        continues: str | None = None,
    ) -> None:
        self.command = shlex.join(["salvit", *arguments])
        self.name = name
        self.checkpoint = checkpoint
        self.untrained = untrained
        self.continues = continues
        self.record: dict[str, Any] = {}
        self.start = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write what is known at the start."""
        self.start = time.monotonic()
        self.record = {
            "command": self.command,
            "stage": stage,
            "name": self.name,
            "model": getattr(pl_module, "model_name", type(pl_module).__name__),
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint.resolve()),
            "checkpoint_sha256": None if self.checkpoint is None else file_hash(self.checkpoint),
            "continues": self.continues,
            "untrained": self.untrained,
            "started": datetime.now().isoformat(timespec="seconds"),
            "seconds": None,
            "machine": machine(),
            "device": device_name(trainer.strategy.root_device, trainer.world_size),
            "versions": versions(),
        }
        self._write(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the log folder as `run`: a fit that is resumed goes on with this log."""
        folder = trainer.log_dir
        checkpoint["run"] = None if folder is None else str(Path(folder).resolve())

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add the time it took."""
        self.record["seconds"] = round(time.monotonic() - self.start, 1)
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero or not trainer.loggers or folder is None:
            return
        write(folder, {"run.json": self.record})
