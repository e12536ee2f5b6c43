"""What makes a run resume exactly: complete checkpoints, the earlier log, and a clean end after a signal."""

import csv
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from salvit.cli.interrupt import Terminated, terminate
from salvit.results.atomic import atomic_write


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the earlier one, which it replaces once it is complete.

    Lightning writes it to the folder of temporary files, and copies it over the earlier one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: It cannot be written; the earlier one is still there.
        """
        with atomic_write(path) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's own, raised while it handles that of a full disk
                raise error.__context__ or error from None


@rank_zero_only
def continue_log(logger: CSVLogger, checkpoint: Path, content: dict[str, Any]) -> None:
    """Begin the log of a resumed fit with the rows that the earlier run logged before the checkpoint.

    Args:
        logger: the logger of the resumed fit, with an empty log.
        checkpoint: the file that is resumed; the earlier log is two folders above it, or in the folder that it names.
        content: content of the checkpoint.
    """
    folders = [checkpoint.resolve().parents[1], Path(content.get("run") or "nowhere")]
    files = [folder / "metrics.csv" for folder in folders]
    path = next((path for path in files if path.is_file()), None)
    if path is None:
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # a kill may have cut off the last
    rows = [
        {name: value for name, value in row.items() if value}
        for row in csv.DictReader(whole)
        if int(row["step"]) < content["global_step"]
    ]
    logger.experiment.metrics.extend(rows)
    logger.save()


class CleanEnd(Callback):
    """Ends a run at once after SIGTERM, all processes of it.

    Lightning would go on to the end of the batch and exit with status 0. On several processes its handler may wait for
    ever.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handler of the signal, which is installed by now."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)

    on_sanity_check_start = on_validation_start = on_test_start = on_predict_start = on_train_start

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the other processes of this machine."""
        if isinstance(exception, Terminated) and (launcher := trainer.strategy.launcher) is not None:
            launcher.kill(signal.SIGTERM)


class Requeue(Callback):
    """Saves a checkpoint and queues the job again when Slurm sends SIGUSR1 before the time limit.

    Sbatch's option for it is `--signal=SIGUSR1@90`, 90 seconds before. Lightning saves it within the signal's handler,
    where a step may be half done. Here it is saved after the batch.

    Args:
        folder: folder of the checkpoint, `requeued.ckpt`, which the same job resumes when it starts again.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "requeued.ckpt"
        self.requested = False
        self.saved = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handler of the signal, which is installed by now."""
        signal.signal(signal.SIGUSR1, self._request)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Save, if the first process has got the signal, and the epoch goes on."""
        if trainer.is_last_batch or not trainer.strategy.broadcast(self.requested):
            return
        trainer.save_checkpoint(self.path)
        self.saved = True

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Queue the job again and end, once the last batch has been logged."""
        if not self.saved:
            return
        if trainer.is_global_zero:
            job = os.environ["SLURM_JOB_ID"]
            array = os.environ.get("SLURM_ARRAY_JOB_ID")
            job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
            rank_zero_info(f"saved {self.path}; queueing job {job} again")
            subprocess.run(["scontrol", "requeue", job], check=False)
        raise Terminated

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Delete the checkpoint: training is complete."""
        if trainer.is_global_zero:
            self.path.unlink(missing_ok=True)

    def _request(self, signal_number: int, frame: Any) -> None:
        self.requested = True


def requeue_folder(experiment: Path) -> Path | None:
    """Where the checkpoint of this Slurm job is, if it is queued again; None outside of a job.

    Args:
        experiment: folder of all its runs.
    """
    if not SLURMEnvironment.detect():
        return None
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return experiment / "requeued" / (os.environ["SLURM_JOB_ID"] + (f"_{task}" if task else ""))
