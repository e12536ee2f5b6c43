"""Where a run is recorded: its folder, and W&B, whose errors never stop the run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from salvit.callbacks.run_labels import RunLabels
from salvit.cli.interrupt import exit_status

_LONGEST_NAME, _LONGEST_TAG = 128, 64
"""Most characters that W&B accepts."""


def claim_version(folder: Path) -> int:
    """Make the next folder `version_N`; two runs that start at once get two folders.

    Args:
        folder: folder of all versions; created if it is missing.

    Returns:
        N, one more than the highest so far.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     claim_version(Path(folder) / "osie"), claim_version(Path(folder) / "osie")
        (0, 1)
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = (path.name.removeprefix("version_") for path in folder.glob("version_*"))
    version = max((int(name) for name in names if name.isdecimal()), default=-1) + 1
    while True:
        try:
            (folder / f"version_{version}").mkdir()
        except FileExistsError:
            version += 1
        else:
            return version


def wandb_logger(project: str, runs: str, folder: str, labels: RunLabels, command: str) -> WandbLogger | None:
    """Start a W&B run named after what it is about; offline, with a message, if W&B cannot be reached.

    `WANDB_MODE` is respected. Offline runs are kept under `runs/wandb`; `wandb sync` uploads them. The configuration
    has the labels as `backbone`, `method`, `k` and `dataset`, and all options of every method in `methods`.

    Args:
        project: name of the W&B project.
        runs: folder of all runs.
        folder: folder of the run, below `runs`; the end of its name in W&B.
        labels: the labels that make name, group and tags in W&B.
        command: the kind of job, "fit", "test" and so on.

    Returns:
        The logger, or None if W&B does not start even offline.
    """
    options = {
        "project": project,
        "dir": runs,
        "name": f"{labels.name} · {folder}"[:_LONGEST_NAME],
        "group": labels.group[:_LONGEST_NAME],
        "job_type": command,
        "tags": [tag[:_LONGEST_TAG] for tag in labels.tags],
        "config": {
            **labels.row(),
            "methods": {method: extractor.options() for method, extractor in labels.methods.items()},
            "folder": f"{runs}/{folder}",
        },
    }
    try:
        run = _start(options)
    except Exception as error:
        rank_zero_info(f"W&B: {_first_line(error)}; going on without it")
        return None
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(experiment=run, save_dir=runs, project=project)


def _start(options: dict[str, Any]) -> Any:
    try:
        # Without a login wandb.init would ask for one, and wait.
        if "WANDB_MODE" in os.environ or wandb.login(prompt=False):
            return wandb.init(**options)
        reason = "no login"
    except Exception as error:  # whatever W&B finds wrong: a made-up key, no network, no space
        reason = _first_line(error)
    rank_zero_info(f"W&B: {reason}; logging offline under {options['dir']}/wandb (`wandb sync` uploads it)")
    return wandb.init(**options, mode="offline")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


@contextmanager
def finish_wandb() -> Iterator[None]:
    """Finish the W&B run at the end, as failed after an error; a later run in the process starts another."""
    status = 0
    try:
        yield
    except BaseException as error:
        status = exit_status(error)
        raise
    finally:
        if wandb.run is not None:
            wandb.finish(exit_code=status)
