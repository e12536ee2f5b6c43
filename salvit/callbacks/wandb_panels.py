"""What W&B shows of a run beside its curves: rows of scores, and tables of pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import wandb
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from datamodules.base import printable
from salvit.callbacks.run_labels import labels_of


def wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    """The W&B loggers of a run; none on other processes than the first."""
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger for logger in loggers if isinstance(logger, WandbLogger)]


def log_scores(
    trainer: Trainer, module: LightningModule, key: str, columns: Mapping[str, str], means: pd.DataFrame
) -> None:
    """Log the rows of a run in columns that all runs share: W&B joins the tables of a sweep by their key.

    Args:
        trainer: trainer of the run.
        module: the model.
        key: key of the table.
        columns: scores in order, and which direction is better, "↑" or "↓".
        means: a row per method of an explanation run, or else one, of the model.
    """
    if not (loggers := wandb_loggers(trainer)):
        return
    labels = labels_of(module, trainer.datamodule)  # type: ignore[attr-defined]
    rows: list[dict[str, Any]] = []
    for name, scores in means.iterrows():
        of_method = str(name) in labels.methods
        model = f"{labels.backbone} · {name}" if of_method else name
        about = labels.row(str(name) if of_method else None)
        rows.append(
            {"model": model, **about, **{f"{one} {columns[one]}": scores.get(one) for one in columns}}
        )
    for logger in loggers:
        logger.log_table(key, columns=list(rows[0]), data=[list(row.values()) for row in rows])


def log_pictures(
    loggers: Iterable[WandbLogger], key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Log a table whose cells are pictures, texts and numbers: W&B sorts and filters it.

    Args:
        loggers: loggers of the run.
        key: key of the table.
        columns: their names.
        rows: a cell per column.
    """
    for logger in loggers:
        data = [
            [wandb.Image(cell) if isinstance(cell, Image.Image) else _text(cell) for cell in row]
            for row in rows
        ]
        logger.log_table(key, columns=list(columns), data=data)


def _text(cell: Any) -> Any:
    """W&B refuses text that is not UTF-8, which the name of a file may be."""
    return printable(cell) if isinstance(cell, str) else cell
