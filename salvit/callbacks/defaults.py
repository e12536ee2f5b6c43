"""Callbacks that the command line adds to every run: configuration, last checkpoint, memory and progress bar."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.cli import SaveConfigCallback

from salvit.results.atomic import named


class LogConfig(SaveConfigCallback):
    """Saves config.yaml in the log folder and logs it as hyperparameters: runs can be grouped by every option."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save it; OSError, which names the file, if that is not possible."""
        with named(Path(trainer.log_dir or "", self.config_filename)):
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the configuration, interpolations resolved and defaults filled in."""
        config: dict[str, Any] = yaml.safe_load(
            self.parser.dump(self.config, skip_none=False, skip_link_targets=False, format="yaml")
        )
        for logger in trainer.loggers:
            logger.log_hyperparams(config)


class LastCheckpoint(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` in the log folder after every epoch, however often the model is validated.

    A class of its own, as Lightning refuses two callbacks of one class that monitor the same score.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", enable_version_counter=False, save_on_train_epoch_end=True)


class FreedMemory(Callback):
    """Gives freed memory back to the system after every batch that is scored or predicted.

    Scores need maps of many sizes. glibc before 2.38 rarely uses the gaps between them again: without this callback,
    `salvit test` held 20 GB after 200 images of OSIE.
    """

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Give it back."""
        return_freed_memory()

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end


def return_freed_memory() -> None:
    """Give freed memory back to the system; only glibc has a function for it."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, on stderr; none where that is no terminal."""

    def init_sanity_tqdm(self) -> Tqdm:
        """Make the bar of the validation before training."""
        return _on_stderr(super().init_sanity_tqdm)

    def init_train_tqdm(self) -> Tqdm:
        """Make the bar of training."""
        return _on_stderr(super().init_train_tqdm)

    def init_validation_tqdm(self) -> Tqdm:
        """Make the bar of validation."""
        return _on_stderr(super().init_validation_tqdm)

    def init_test_tqdm(self) -> Tqdm:
        """Make the bar of the test."""
        return _on_stderr(super().init_test_tqdm)

    def init_predict_tqdm(self) -> Tqdm:
        """Make the bar of prediction."""
        return _on_stderr(super().init_predict_tqdm)


def _on_stderr(make: Callable[[], Tqdm]) -> Tqdm:
    with redirect_stdout(sys.stderr):
        return make()
