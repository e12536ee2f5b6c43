"""The report of a folder: read from what the commands wrote there, and written into one folder."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import Progress

from salvit import results
from salvit.callbacks.outputs import claim
from salvit.cli.quiet import is_quiet
from salvit.errors import MissingFileError
from salvit.explain.data import RECORD
from salvit.explain.writer import TABLE
from salvit.report.agreement import mean_agreement, rank_correlations
from salvit.report.attention import attention_sources
from salvit.report.charts import perturbation_charts, randomisation_charts, sweep_charts, training_charts
from salvit.report.export import long_differences, long_scores, markdown, tex
from salvit.report.galleries import read_explained, read_galleries
from salvit.report.page import Report, page
from salvit.report.runs import find_runs
from salvit.report.tables import Comparison, read_tables

PAGE = "index.html"
FILES = (PAGE, "scores.csv", "differences.csv", "agreement.csv", "scores.md", "scores.tex")
"""The files of a report; one without content is not written."""


def write_report(folder: Path, out: Path, title: str | None = None) -> list[Comparison]:
    """Write the report of all runs and outputs of `salvit explain` under a folder, and return its tables.

    Args:
        folder: where the runs are.
        out: folder of the page, `index.html`, and its numbers, see `FILES`. Files of an earlier report are overwritten.
        title: title of the page; the name of the folder by default.

    Raises:
        FileNotFoundError: if there is nothing to report.
        ValueError: if a file is there that salvit did not write.
    """
    explained = sorted(path.parent for path in folder.rglob(RECORD) if (path.parent / TABLE).is_file())
    recorded = any(folder.rglob("run.json"))
    if not recorded and not explained:
        raise MissingFileError(
            f"no run under {folder}: expected folders with a run.json, which `salvit fit` and `salvit test` write into "
            "the folder of each run, or the folder that `salvit explain` wrote"
        )
    claim(out, [(out / name, name) for name in FILES])
    with Progress(console=Console(stderr=True), transient=True, disable=is_quiet()) as progress:
        step = progress.add_task("reading runs", total=5)

        def begin(what: str) -> None:
            progress.update(step, advance=1, description=what, refresh=True)

        runs = find_runs(folder) if recorded else []
        begin("intervals and differences of scores")
        tables = read_tables(runs)
        begin("maps")
        of_folder = {one: read_explained(one) for one in explained}
        galleries = [*read_galleries(runs), *of_folder.values()]
        begin("agreement of maps")
        correlations = [rank_correlations(gallery) for gallery in galleries]
        begin("writing")
        agreement = [
            mean_agreement(found, gallery.methods)
            for found, gallery in zip(correlations, galleries, strict=True)
        ]
        columns = {name: arrow for one in tables for name, arrow in one.table.columns.items()}
        charts = [
            *sweep_charts(tables),
            *perturbation_charts(runs),
            *randomisation_charts(runs),
            *training_charts(runs, columns),
        ]
        report = Report(
            title or folder.resolve().name,
            folder,
            runs,
            tables,
            charts,
            galleries,
            agreement,
            attention_sources(runs, of_folder),
            {one.name: said for one in explained if len(said := _predicted(one))},
        )
        titles = [gallery.title for gallery in galleries]
        pairs = [one.assign(images=title) for title, one in zip(titles, correlations, strict=True)]
        known = {title: one for title, one in zip(titles, agreement, strict=True) if len(one) > 1}
        contents = {
            PAGE: page(report),
            "scores.csv": long_scores(tables) if tables else None,
            "differences.csv": long_differences(tables),
            "agreement.csv": pd.concat(pairs) if known else None,
            "scores.md": markdown(tables, known),
            "scores.tex": tex(tables),
        }
        results.write(out, contents)
    # An earlier report may have had parts that this one has not.
    for name, content in contents.items():
        if content is None:
            (out / name).unlink(missing_ok=True)
    return tables


def _predicted(folder: Path) -> pd.DataFrame:
    """What a classifier says of each image; empty without a classifier."""
    table = results.read_csv(folder / TABLE, dtype=str, keep_default_na=False).drop_duplicates("name")
    shown = table.assign(
        predicted=table["predicted_name"].where(table["predicted_name"] != "", table["predicted"])
    )
    return shown.loc[shown["predicted"] != "", ["name", "predicted", "probability"]]
