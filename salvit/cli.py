"""The command line: LightningCLI with salvit's defaults."""

import os
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import datamodules  # noqa: F401  (its classes are then known by name)
import salvit.modules  # noqa: F401
from salvit.callbacks.config import LogConfig
from salvit.callbacks.failure import one_clear_error


class SalvitCLI(LightningCLI):
    """LightningCLI whose `--ckpt_path` never overrides what was typed.

    LightningCLI lets hyperparameters stored in a checkpoint win over flags and files. Saliency checkpoints carry none
    under the name it looks for: their description is compared with the configuration instead, and a
    difference is an error that names it (`salvit.modules.checkpoint`).
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Log to CSV always, and to W&B beside it, unless the configuration says otherwise."""
        parser.set_defaults({"trainer.logger": DEFAULT_LOGGERS})


DEFAULT_LOGGERS: list[dict[str, Any]] = [
    {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": "runs", "name": "default"},
    },
    {"class_path": "salvit.loggers.WandbLogger", "init_args": {"save_dir": "runs", "project": "salvit"}},
]


def run(args: list[str]) -> SalvitCLI:
    """Parse a command line and run it.

    Args:
        args: command, configs and options.

    Returns:
        The CLI, with its trainer, model and datamodule.

    Raises:
        SystemExit: if the command line or the data is wrong; the message says what and the remedy.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    torch.set_float32_matmul_precision("high")
    # In this combination ${…} follows overrides that come later on the command line.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    with one_clear_error():
        return SalvitCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=LogConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"parser_mode": "omegaconf+"},
            args=args,
        )
