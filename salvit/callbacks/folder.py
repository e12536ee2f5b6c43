"""The folder that a callback writes to."""

from pathlib import Path

from lightning.pytorch import Trainer


def output_folder(trainer: Trainer, named: str | None, name: str) -> Path | None:
    """The folder that the user named, else one in the run's own folder.

    Args:
        trainer: of the run; ask on every process, as the run's folder is broadcast.
        named: relative to the current folder, None if none was named.
        name: in the run's folder.

    Returns:
        The folder, which need not exist; None in a `fast_dev_run`, which has no folder to write to.
    """
    folder = trainer.log_dir
    if named is not None:
        return Path(named)
    return None if folder is None else Path(folder) / name
