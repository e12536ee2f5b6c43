"""The whole resolved configuration goes to every logger, so that runs group by any part of it."""

from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback


class LogConfig(SaveConfigCallback):
    """Saves config.yaml in the log folder, as its base does, and logs it as hyperparameters (rank 0 only)."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the configuration, interpolations resolved and defaults filled in."""
        config: dict[str, Any] = yaml.safe_load(
            self.parser.dump(self.config, skip_none=False, skip_link_targets=False, format="yaml")
        )
        for logger in trainer.loggers:
            logger.log_hyperparams(config)
