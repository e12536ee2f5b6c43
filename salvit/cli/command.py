"""The command line: LightningCLI with salvit's defaults."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from omegaconf.errors import OmegaConfBaseException

from datamodules.base import SaliencyDataModule
from salvit.callbacks.best_scores import BestScores
from salvit.callbacks.classification_scores import ClassificationScores
from salvit.callbacks.defaults import FreedMemory, LastCheckpoint, LogConfig, ProgressBar
from salvit.callbacks.explanation_scores import ExplanationScores
from salvit.callbacks.kept_maps import KeptMaps
from salvit.callbacks.provenance import Provenance
from salvit.callbacks.run_labels import labels_of
from salvit.callbacks.scores import Scores
from salvit.cli.checkpoint_option import choose_checkpoint, experiment_folder, with_description
from salvit.cli.experiments import with_experiments
from salvit.cli.failure import one_clear_error, plain_warnings
from salvit.cli.interrupt import interruptible
from salvit.cli.loggers import claim_version, finish_wandb, wandb_logger
from salvit.cli.parser import ArgumentParser
from salvit.cli.quiet import is_quiet, quieten
from salvit.cli.run_log import RunLog
from salvit.cli.survival import CleanEnd, Requeue, WholeCheckpoints, continue_log, requeue_folder
from salvit.errors import InvalidValueError
from salvit.modules import ExplanationModule, SaliencyModule
from salvit.modules.checkpoint import check_same_model, read_checkpoint
from salvit.modules.trained import TrainedModule
from salvit.vit import ViT, patch_grid

DEFAULT_PROJECT = "salvit"
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


class SalvitCLI(LightningCLI):
    """LightningCLI with a new folder for each run, `RUNS/NAME/version_N`; typed options win over the checkpoint.

    The options are parsed, and the model, the data and the trainer built, before the folder is made and W&B started.
    A checkpoint of another model than the typed one is an error (`salvit.modules.checkpoint`).

    Args:
        arguments: command and options.
        **options: as for LightningCLI.
    """

    def __init__(self, arguments: Sequence[str], **options: Any) -> None:
        self.arguments = list(arguments)
        self.checkpoint: Path | None = None
        with interruptible(self.how_to_go_on):
            super().__init__(LightningModule, LightningDataModule, args=self.arguments, **options)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add salvit's options to Lightning's."""
        add = parser.add_argument
        add("--name", type=str | None, help="the experiment; may contain /; default: the config file's name")
        add("--runs", type=str, default="runs", help="every run writes to a new folder RUNS/NAME/version_N")
        add("--wandb", type=bool | str, default=True, help="W&B: true, false, or the name of a project")
        add("--untrained", type=bool, default=False, help="take random weights instead of a checkpoint")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line, and read the checkpoint before anything is built."""
        with one_clear_error(status=2):
            try:
                self.config = parser.parse_args(with_description(with_experiments(self.arguments)))
            except OmegaConfBaseException as error:  # ${…} that leads nowhere
                reason = str(error).partition("\n")[0].rpartition("interpolation: ")[2]
                raise InvalidValueError(f"{error.full_key}: {reason}") from error
            command = self.config["subcommand"]
            options = self.config[command]
            options["name"] = experiment_name(options["name"], options.get("config"))
            self.requeued = requeue_folder(experiment_folder(options)) if command == "fit" else None
            self.checkpoint = choose_checkpoint(command, options)
            if self.requeued is not None and (saved := self.requeued / "requeued.ckpt").is_file():
                self.checkpoint = saved
            self.content = {} if self.checkpoint is None else read_checkpoint(self.checkpoint)
            options["ckpt_path"] = None  # Lightning would read hyperparameters from it next

    def before_instantiate_classes(self) -> None:
        """Hand the checkpoint to Lightning, which loads nothing but tensors."""
        options = self.config[self.config["subcommand"]]
        options["ckpt_path"] = None if self.checkpoint is None else str(self.checkpoint)
        options["weights_only"] = True

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; an error here is one of the command line, with status 2."""
        with one_clear_error(status=2):
            super().instantiate_classes()
            if isinstance(self.datamodule, SaliencyDataModule):
                self.datamodule.setup(self.subcommand)
                self._check_model_on_data(self.datamodule)
            if isinstance(self.model, TrainedModule):
                if self.checkpoint is not None:
                    check_same_model(self.content.get("salvit"), self.model.description)
                self.model.untrained = self._options()["untrained"]

    def _check_model_on_data(self, data: SaliencyDataModule) -> None:
        if not isinstance(vit := getattr(self.model, "vit", None), ViT):
            return
        grid = patch_grid(vit, data.image_size)
        if isinstance(self.model, SaliencyModule):
            self.model.extractor.check_grid(vit, grid)
        if isinstance(self.model, ExplanationModule):
            for extractor in self.model.methods.values():
                extractor.check_grid(vit, grid)
            self.model.scores_for(data)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer; an error of Lightning about its options is one of the command line."""
        options = self._options()
        continues = self.content.get("run") if self.subcommand == "fit" else None
        record = Provenance(self.arguments, options["name"], self.checkpoint, options["untrained"], continues)
        keeps = self.subcommand == "fit" and options["trainer"]["enable_checkpointing"] is not False
        callbacks = [
            record,
            FreedMemory(),
            BestScores(),
            CleanEnd(),
            *([LastCheckpoint()] if keeps else []),
            *([KeptMaps()] if self.subcommand == "test" else []),
            *([] if self.requeued is None else [Requeue(self.requeued)]),
            *display(options["trainer"]),
        ]
        self.trainer_defaults = {"callbacks": callbacks}
        place = CSVLogger(options["runs"], options["name"])  # writes nothing yet
        if options["trainer"]["default_root_dir"] is None:
            # A fast_dev_run has no logger, and writes there.
            options["trainer"]["default_root_dir"] = f"{options['runs']}/{options['name']}/fast_dev_run"
        plugins = options["trainer"]["plugins"] or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
        take_given_processes(options["trainer"])
        try:
            trainer = super().instantiate_trainer(logger=place, plugins=plugins, **kwargs)
        except (ValueError, TypeError, ImportError, RuntimeError) as error:
            raise InvalidValueError(f"no trainer with these options: {error}") from error
        if trainer.precision not in PRECISIONS:
            raise InvalidValueError(
                f"--trainer.precision {trainer.precision}: maps and scores need weights in single precision; use one "
                f"of {', '.join(PRECISIONS)}"
            )
        devices, cores = trainer.num_devices, os.cpu_count() or 1
        if trainer.strategy.root_device.type == "cpu" and devices > cores:
            raise InvalidValueError(f"--trainer.devices {devices}: this machine has {cores} cores")
        return trainer

    def after_instantiate_classes(self) -> None:
        """Make the run's folder: all options have been checked."""
        if not self._options()["trainer"]["fast_dev_run"]:
            with one_clear_error():
                self.trainer.loggers = self._loggers()
                log = self.trainer.logger
                if self.subcommand == "fit" and self.checkpoint is not None and isinstance(log, CSVLogger):
                    continue_log(log, self.checkpoint, self.content)

    def before_fit(self) -> None:
        """Let a GPU multiply in TF32 to save time; only training does, `test` does not."""
        torch.set_float32_matmul_precision("high")

    def before_test(self) -> None:
        """Leave out Lightning's own table where a callback prints ours, unless it is asked for."""
        printing = Scores | ExplanationScores | ClassificationScores
        ours = any(isinstance(callback, printing) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        if ours and not any(argument.startswith("--verbose") for argument in self.arguments):
            self._options()["verbose"] = False

    def before_predict(self) -> None:
        """Keep no predictions: callbacks write them."""
        self._options()["return_predictions"] = False

    def after_fit(self) -> None:
        """Print where the run is, its checkpoint, and how to test it."""
        folder = self._print_folder()
        keeper = self.trainer.checkpoint_callback
        path = isinstance(keeper, ModelCheckpoint) and (keeper.last_model_path or keeper.best_model_path)
        if path and self.trainer.is_global_zero:
            checkpoint = os.path.relpath(path)
            config = os.path.relpath(f"{folder}/config.yaml")
            command = shlex.join(["salvit", "test", "--config", config, "--ckpt_path", checkpoint])
            print(f"checkpoint: {checkpoint}\ntest it: {command}")

    def after_test(self) -> None:
        """Print where the run is."""
        self._print_folder()

    after_validate = after_predict = after_test

    def _options(self) -> Any:
        return self.config_init[self.subcommand]

    def _loggers(self) -> list[Logger]:
        """The CSV logger, whose folder is `trainer.log_dir`, and then the loggers that were typed, or W&B."""
        options = self._options()
        runs, name, others = options["runs"], options["name"], options["trainer"]["logger"]
        if not self.trainer.is_global_zero:  # other processes write nothing
            return [CSVLogger(runs, name, version=0)]
        version = claim_version(Path(runs) / name)
        loggers: list[Logger] = [RunLog(runs, name, version)]
        if isinstance(others, Logger | Sequence):
            return [*loggers, *([others] if isinstance(others, Logger) else others)]
        if others is not False and (project := options["wandb"]):
            project = DEFAULT_PROJECT if project is True else project
            labels, folder = labels_of(self.model, self.datamodule), f"{name}/version_{version}"
            if (logger := wandb_logger(project, runs, folder, labels, str(self.subcommand))) is not None:
                loggers.append(logger)
        return loggers

    def how_to_go_on(self) -> str:
        """What to type after a run was stopped."""
        trainer = getattr(self, "trainer", None)
        if trainer is None:
            return ""
        path = Path(trainer.logger.log_dir if trainer.logger else "", "checkpoints/last.ckpt")
        if self.subcommand == "fit" and path.is_file():
            options = [*without_option(self.arguments, "--ckpt_path"), "--ckpt_path", os.path.relpath(path)]
            return f"; to go on: {shlex.join(['salvit', *options])}"
        return "; to go on, type the same command again"

    def _print_folder(self) -> str | None:
        folder = self.trainer.log_dir  # asked on every process: it is broadcast
        if self.trainer.is_global_zero and folder is not None:
            print(f"run folder: {folder}")
        return folder


def experiment_name(name: str | None, configs: Sequence[Any] | None) -> str:
    """The name of an experiment, and of its folder: the one given, a comma for a colon, else the first config file's.

    Args:
        name: as typed or from a config.
        configs: files, in the order typed.

    Raises:
        ValueError: if it would lead out of the folder of all runs.

    Example:
        >>> experiment_name(None, ["experiments/osie.yaml"]), experiment_name("k/salient_attention:k=8", None)
        ('osie', 'k/salient_attention,k=8')
    """
    if name is None:
        files = [Path(str(config)) for config in configs or () if str(config).endswith((".yaml", ".yml"))]
        return files[0].stem if files else "default"
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise InvalidValueError(
            f"--name {name!r} must be a name, or names joined by /, below the folder of all runs"
        )
    return name.replace(":", ",")  # of a method's options; no file's name has a colon on every system


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Arguments without an option and its value.

    Example:
        >>> without_option(["fit", "--ckpt_path", "a.ckpt", "--name=x"], "--ckpt_path")
        ['fit', '--name=x']
    """
    kept, words = [], iter(arguments)
    for word in words:
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept


def take_given_processes(trainer: Any) -> None:
    """Use the processes that torchrun has started, where none were typed.

    Args:
        trainer: its options, changed in place.
    """
    if TorchElasticEnvironment.detect() and trainer["devices"] == "auto":
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        trainer["devices"] = local
        trainer["num_nodes"] = int(os.environ["WORLD_SIZE"]) // local


def display(trainer: Any) -> list[Callback]:
    """Progress bar and model summary on stderr, in the place of Lightning's, which print to stdout.

    Args:
        trainer: its options, changed in place: Lightning's bar and summary are turned off.

    Returns:
        The callbacks; none with `-q`, and no bar where stderr is not a terminal.
    """
    callbacks = trainer["callbacks"] or []
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    shown: list[Callback] = []
    if not any(isinstance(callback, LightningProgressBar) for callback in given):
        bar = trainer["enable_progress_bar"] is not False and sys.stderr.isatty() and not is_quiet()
        trainer["enable_progress_bar"] = bar
        shown += [ProgressBar()] * bar
    if not any(isinstance(callback, ModelSummary) for callback in given):
        summary = trainer["enable_model_summary"] is not False and not is_quiet()
        trainer["enable_model_summary"] = False
        shown += [ModelSummary()] * summary
    return shown


def run(args: list[str] | None = None) -> SalvitCLI:
    """Parse a command line and run it.

    Args:
        args: command, configs and options; `sys.argv` by default.

    Returns:
        The CLI, with its trainer, model and datamodule.

    Raises:
        SystemExit: with status 2 if the command line, or the model or data that it names, is wrong; 1 after a later
            error.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    torch.set_float32_matmul_precision("highest")
    # In this combination ${…} follows overrides that come later on the command line.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    quieten()
    with one_clear_error(), plain_warnings(), finish_wandb():
        return SalvitCLI(
            sys.argv[1:] if args is None else args,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=LogConfig,
            parser_kwargs={"parser_mode": "omegaconf+", "prog": "salvit", "allow_abbrev": False},
            parser_class=ArgumentParser,
        )
