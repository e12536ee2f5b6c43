"""The log of a run, Lightning's CSVLogger, whose files stay intact when the disk is full."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from salvit.results.atomic import append, atomic_write, named


class RunLog(CSVLogger):
    """Writes `metrics.csv` and `hparams.yaml` into the folder of a run.

    Every row is written at once, so that what a checkpoint has seen is in the log.

    Args:
        save_dir: folder of all runs.
        name: name of the experiment.
        version: number N of the run's folder, `version_N`.
    """

    def __init__(self, save_dir: str | Path, name: str, version: int) -> None:
        super().__init__(save_dir, name, version, flush_logs_every_n_steps=1)
        self._experiment = _Writer(self.log_dir)


class _Writer(ExperimentWriter):
    """Writes complete rows only; Lightning's own writer truncates the file when the disk is full, without naming it."""

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Write the hyperparameters; OSError, which names the file, if that is not possible."""
        with named(Path(self.log_dir, self.NAME_HPARAMS_FILE)):
            super().log_hparams(params)

    def save(self) -> None:
        """Write the rows that are new; OSError, which names the file, if that is not possible."""
        rows, self.metrics = self.metrics, []
        path, names = Path(self.metrics_file_path), sorted({*self.metrics_keys}.union(*rows))
        if names == self.metrics_keys:
            append(path, _lines(names, rows))
            return
        earlier = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))) if path.is_file() else ()
        with atomic_write(path) as file:
            file.write(_lines(names, [dict(zip(names, names, strict=True)), *earlier, *rows]))
        self.metrics_keys = names


def _lines(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    lines = io.StringIO()
    csv.DictWriter(lines, list(names)).writerows(rows)
    return lines.getvalue().encode()
