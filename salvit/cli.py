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
from salvit.callbacks.config import LogConfig
from salvit.callbacks.last_checkpoint import LastCheckpoint
from salvit.callbacks.provenance import Provenance
from salvit.checkpoint_option import choose_checkpoint, experiment_folder, with_description
from salvit.failure import one_clear_error
from salvit.loggers import finish_wandb
from salvit.modules import ClassificationModule, SaliencyModule
from salvit.modules.checkpoint import check_same_model, read_checkpoint
from salvit.parser import ArgumentParser
from salvit.quiet import quieten


class SalvitCLI(LightningCLI):
    """LightningCLI whose checkpoints hold tensors alone, describe their model, and override nothing that was typed.

    LightningCLI lets hyperparameters stored in a checkpoint win over flags and files. Here the description in a
    checkpoint stands below what is typed, and a difference is an error that names it (`salvit.modules.checkpoint`).

    Args:
        arguments: command and options.
        **options: as for LightningCLI.
    """

    def __init__(self, arguments: list[str], **options: Any) -> None:
        self.arguments = arguments
        self.checkpoint: Path | None = None
        super().__init__(LightningModule, LightningDataModule, args=arguments, **options)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Log to CSV always, and to W&B beside it, unless the configuration says otherwise."""
        parser.set_defaults({"trainer.logger": DEFAULT_LOGGERS})
        parser.add_argument(
            "--untrained",
            type=bool,
            default=False,
            help="Score or predict with a decoder of random weights, instead of that of a checkpoint.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line, and look at the checkpoint before anything is built."""
        self.config = parser.parse_args(with_description(self.arguments))
        options = self.config[self.config["subcommand"]]
        self.checkpoint = choose_checkpoint(self.config["subcommand"], options)
        self.stored = None if self.checkpoint is None else read_checkpoint(self.checkpoint).get("salvit")
        options["ckpt_path"] = None  # until Lightning has looked there for hyperparameters

    def before_instantiate_classes(self) -> None:
        """Hand the checkpoint to Lightning, which loads nothing but tensors."""
        options = self.config[self.config["subcommand"]]
        options["ckpt_path"] = None if self.checkpoint is None else str(self.checkpoint)
        options["weights_only"] = True

    def after_instantiate_classes(self) -> None:
        """Compare the model with the checkpoint before there is a log folder."""
        if not isinstance(self.model, SaliencyModule | ClassificationModule):
            return
        if self.checkpoint is not None:
            check_same_model(self.stored, self.model.description)
        self.model.untrained = self.config[self.subcommand]["untrained"]

    def before_fit(self) -> None:
        """Let a GPU multiply in TF32: training gains time, and the scores that count are those of `test`."""
        torch.set_float32_matmul_precision("high")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer; whatever Lightning says against its options is about what was typed."""
        options = self.config[self.subcommand]
        name = options.get("name") or experiment_folder(options).name
        record = Provenance(self.arguments, name, self.checkpoint, untrained=options["untrained"])
        keeps = self.subcommand == "fit" and options["trainer"]["enable_checkpointing"] is not False
        self.trainer_defaults = {"callbacks": [record, *([LastCheckpoint()] if keeps else [])]}
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
            sys.argv[1:] if args is None else args,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=LogConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"parser_mode": "omegaconf+", "prog": "salvit"},
            parser_class=ArgumentParser,
        )
