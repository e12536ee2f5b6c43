"""The report of a folder of runs, gathered from their files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from salvit.report.curves import draw_curves, read_history
from salvit.report.runs import Run, find_runs
from salvit.report.scores import Scores, collect_scores


@dataclass(frozen=True)
class Report:
    """What there is to show about some runs.

    Attributes:
        title: of the page.
        runs: what was run.
        tables: the scores.
        pictures: PNG of the panel of test images, by label of the run.
        curves: PNG of the training curves, None if nothing was fitted.
    """

    title: str
    runs: list[Run]
    tables: list[Scores]
    pictures: dict[str, bytes]
    curves: bytes | None


def read_report(folder: Path, title: str) -> Report:
    """Gather the report of the runs under a folder.

    Args:
        folder: where the runs are.
        title: of the page.

    Raises:
        FileNotFoundError: if there is no run.
    """
    runs = find_runs(folder)
    panels = {run.label: run.folder / "pictures/test.png" for run in runs if run.stage == "test"}
    pictures = {label: path.read_bytes() for label, path in panels.items() if path.is_file()}
    return Report(title, runs, collect_scores(runs), pictures, _curves(runs))


def _curves(runs: Sequence[Run]) -> bytes | None:
    paths = {run.label: run.folder / "metrics.csv" for run in runs if run.stage == "fit"}
    histories = {label: read_history(path) for label, path in paths.items() if path.is_file()}
    if not any(histories.values()):
        return None
    png = io.BytesIO()
    draw_curves(histories).savefig(png, format="png", dpi=130)
    return png.getvalue()
