"""The command line: LightningCLI with salvit's defaults."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import datamodules  # noqa: F401  (its classes are then known by name)
import salvit.modules  # noqa: F401
from salvit.callbacks.config import LogConfig
from salvit.callbacks.provenance import Provenance
from salvit.failure import one_clear_error
from salvit.loggers import finish_wandb
from salvit.modules.checkpoint import check_readable
from salvit.parser import ArgumentParser
from salvit.quiet import quieten


class SalvitCLI(LightningCLI):
    """LightningCLI whose `--ckpt_path` never overrides what was typed.

    LightningCLI lets hyperparameters stored in a checkpoint win over flags and files. The checkpoints of
    `salvit.modules` carry none under the name it looks for: the description in those of the SaliencyModule is
    compared with the configuration instead, and a difference is an error that names it (`salvit.modules.checkpoint`).
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Log to CSV always, and to W&B beside it, unless the configuration says otherwise."""
        parser.set_defaults({"trainer.logger": DEFAULT_LOGGERS})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line, and look at the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        path = self.config[self.config["subcommand"]].get("ckpt_path")
        if path and path not in ("best", "last", "hpc") and ":" not in str(path):
            check_readable(Path(path))

    def before_fit(self) -> None:
        """Let a GPU multiply in TF32: training gains time, and the scores that count are those of `test`."""
        torch.set_float32_matmul_precision("high")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer; whatever Lightning says against its options is about what was typed."""
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, ImportError) as error:
            raise MisconfigurationException(f"no trainer with these options: {error}") from error


DEFAULT_LOGGERS: list[dict[str, Any]] = [
    {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": "runs", "name": "default"},
    },
    {"class_path": "salvit.loggers.WandbLogger", "init_args": {"save_dir": "runs", "project": "salvit"}},
]


def run(args: list[str] | None = None) -> SalvitCLI:
    """Parse a command line and run it.

    Args:
        args: command, configs and options; `sys.argv` by default.

    Returns:
        The CLI, with its trainer, model and datamodule.

    Raises:
        SystemExit: if the command line or the data is wrong; the message says what and the remedy.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    torch.set_float32_matmul_precision("highest")
    # In this combination ${…} follows overrides that come later on the command line.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    quieten()
    with one_clear_error(), finish_wandb():
        return SalvitCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=LogConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"parser_mode": "omegaconf+", "prog": "salvit"},
            parser_class=ArgumentParser,
            trainer_defaults={"callbacks": [Provenance(sys.argv[1:] if args is None else args)]},
            args=args,
        )
