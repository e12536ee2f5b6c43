"""The results of one `salvit explain` on W&B."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salvit.callbacks.run_labels import RunLabels
from salvit.callbacks.wandb_panels import log_pictures
from salvit.cli.loggers import finish_wandb, wandb_logger
from salvit.explain.data import GRIDS
from salvit.explain.writer import Row, read_picture, shown_class

_GRIDS_SHOWN = 100
"""W&B shows 108 pictures of one step at most."""


def log_explanations(
    project: str, folder: Path, labels: RunLabels, record: Mapping[str, Any], images: Sequence[Sequence[Row]]
) -> None:
    """Log the grids, and a table with a row per map.

    Args:
        project: of W&B.
        folder: of the results; an offline record is kept beside it.
        labels: what the run is about.
        record: command, model and versions, for the configuration.
        images: by image, the rows of its maps.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    with finish_wandb():
        logger = wandb_logger(project, str(folder.parent), folder.name, labels, "explain")
        if logger is None:
            return
        logger.log_hyperparams({"explain": dict(record)})
        grids = [folder / GRIDS / f"{rows[0]['name']}.png" for rows in images]
        shown = [grid for grid in grids if grid.is_file()][:_GRIDS_SHOWN]
        logger.log_image("explain/grids", list(map(str, shown)), caption=[grid.stem for grid in shown])
        table = [
            [
                row["image"],
                shown_class(row, "predicted", "probability"),
                row["method"],
                shown_class(row, "target", "target_probability"),
                read_picture(folder / row["overlay"]),
            ]
            for rows in images
            for row in rows
        ]
        log_pictures(
            [logger], "explain/maps", ["image", "predicted", "method", "explained", "overlay"], table
        )
