"""One HTML page for a folder of runs: scores, pictures, curves, and how they were made. It links to nothing."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from matplotlib.figure import Figure
from PIL import Image

from salvit import results
from salvit.report.curves import draw_curves, read_history
from salvit.report.pictures import panel
from salvit.report.runs import Run, find_runs
from salvit.report.tables import read_tables
from salvit.results import Table
from salvit.results.observers import UPPER_BOUND

MEANINGS = {
    "CC": "linear correlation with the density of fixations, −1 … 1",
    "NSS": "value at the fixations, in standard deviations of the map; 0 is chance",
    "SIM": "mass shared with the density, 0 … 1",
    "KLD": "divergence from the density, in nats; 0 is perfect",
    "sAUC": "chance that a fixation outranks one of another image; 0.5 for any map that is the same for all images",
    "AUC": "chance that a fixation outranks a random pixel; 0.5 is chance",
    "AUC-Judd": "AUC against pixels that nobody fixated, ties broken at random",
    "AUC-Borji": "AUC against random pixels, with thresholds 0.1 apart",
    "EMD": "how far the mass has to be moved to be the density, in pixels of maps 32 times smaller; 0 is perfect",
    "IG": "gain over the center prior of the train split, in bits per fixation; 0 is no better",
}

BASELINES = {
    "center prior": "mean density of the train split",
    "random": "uniform noise",
    "spectral residual": "of Hou and Zhang 2007, by OpenCV",
    UPPER_BOUND: "density of all observers but one, against that one",
}


def write_report(folder: Path, title: str | None = None) -> list[Table]:
    """Write the report of the runs under a folder into it, and return its tables.

    `index.html`, which links to nothing, and its parts as far as there are any: `scores.md`, `pictures.png`,
    `curves.png`. The title is the name of the folder by default.

    Raises:
        FileNotFoundError: There is no run.
    """
    runs = find_runs(folder)
    tables = read_tables(runs)
    panels = {run.label: run.folder / "pictures/test.png" for run in runs if run.stage == "test"}
    pictures = {label: path.read_bytes() for label, path in panels.items() if path.is_file()}
    histories = {run.label: read_history(run.folder / "metrics.csv") for run in runs if run.stage == "fit"}
    curves = draw_curves(histories) if any(histories.values()) else None
    opened = [Image.open(io.BytesIO(content)) for content in pictures.values()]
    height = max((picture.height for picture in opened), default=0)
    texts = [f"{table.title}\n\n{table.markdown(spread=False)}\n" for table in tables]
    parts = {
        "scores.md": "\n".join(texts) or None,
        "pictures.png": panel([opened], list(pictures), height) if pictures else None,
        "curves.png": curves,
        "index.html": _page(title or folder.resolve().name, runs, tables, pictures, curves),
    }
    results.write(folder, parts)
    return tables


def _page(
    title: str,
    runs: Sequence[Run],
    tables: Sequence[Table],
    pictures: Mapping[str, bytes],
    curves: Figure | None,
) -> str:
    """The page, with the pictures as PNG by label of the run, and the curves of training."""
    tested = {run.label: run for run in runs if run.stage == "test"}
    sections = [_table_section(table, tested) for table in tables]
    sections += [_pictures_section(pictures)] if pictures else []
    if curves:
        note = "Training loss of single batches; scores on the val split. ↑ higher is better, ↓ lower."
        sections.append(_section("Training curves", note, _image(results.encoded(curves), "training curves")))
    sections.append(_origin_section(runs))
    template = Template(files("salvit.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), lead=_lead(runs), sections="\n".join(sections))


def _lead(runs: Sequence[Run]) -> str:
    device = sorted({run.record["device"] for run in runs})
    seeds = sorted({str(run.config["seed_everything"]) for run in runs})
    seconds = sum(run.record["seconds"] or 0 for run in runs)
    return escape(
        f"{len(runs)} runs, {duration(seconds)} in all on {' and '.join(device)} "
        f"({runs[-1].record['machine']}), seed {', '.join(seeds)}, {runs[-1].started.replace('T', ' ')}"
    )


def _table_section(table: Table, tested: Mapping[str, Run]) -> str:
    header = "".join(f"<th>{name}</th>" for name in [table.rows, *table.header])
    rows = "".join(_table_row(table, row, tested.get(row)) for row in table.means.index)
    known = [(name, arrow) for name, arrow in table.columns.items() if name in MEANINGS]
    meanings = "".join(f"<dt>{name} {arrow}</dt><dd>{MEANINGS[name]}</dd>" for name, arrow in known)
    spread = "its standard error" if table.rows == "model" else "half its 95 % bootstrap interval"
    note = f"{table.title}. Mean over images, ± {spread}; ↑ higher is better, ↓ lower."
    return _section("Scores", note, f"<table><tr>{header}</tr>{rows}</table><dl>{meanings}</dl>")


def _table_row(table: Table, row: str, run: Run | None) -> str:
    """The row of a method, of a model with its run, or of a baseline, which has no run."""
    cells = ""
    for column in table.columns:
        mean, spread, best = table.cell(row, column)
        cells += f"<td{' class=best' if best else ''}>{mean}<small>{spread.replace('±', '± ')}</small></td>"
    kind = " class=baseline" if table.rows == "model" and run is None else ""
    note = str(run.folder) if run else BASELINES.get(row, "")
    return f"<tr{kind}><td>{escape(row)}<small>{escape(note)}</small></td>{cells}</tr>"


def _pictures_section(pictures: Mapping[str, bytes]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(label)}</figcaption>{_image(png, f'test images, {label}')}</figure>"
        for label, png in pictures.items()
    )
    note = "The first images of the test split. Maps run from their minimum (dark) to their maximum (bright)."
    return _section("Pictures", note, f'<div class="pictures">{figures}</div>')


def _origin_section(runs: Sequence[Run]) -> str:
    rows = "".join(
        f"<tr><td>{escape(run.label)}</td><td>{escape(run.stage)}</td>"
        f"<td>{duration(run.record['seconds'])}</td><td><code>{_command(run)}</code></td></tr>"
        for run in runs
    )
    versions = ", ".join(f"{name} {number}" for name, number in runs[-1].record["versions"].items())
    configs = "".join(
        f"<details><summary>whole configuration of {escape(run.label)}, {run.stage}</summary>"
        f"<pre>{escape((run.folder / 'config.yaml').read_text(encoding='utf-8'))}</pre></details>"
        for run in runs
    )
    header = "<tr><th>run</th><th>stage</th><th>time</th><th>command</th></tr>"
    body = f"<table class=facts>{header}{rows}</table>{configs}"
    return _section("How these were made", f"Versions: {versions}.", body)


def _section(heading: str, note: str, body: str) -> str:
    return f"<section><h2>{heading}</h2><p class=note>{escape(note)}</p>{body}</section>"


def _image(png: bytes, alternative: str) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alternative)}">'


def _command(run: Run) -> str:
    # A span per word, so that lines do not break within "--option".
    return " ".join(f"<span>{escape(word)}</span>" for word in run.record["command"].split(" "))


def duration(seconds: float | None) -> str:
    """Seconds in words; None for a run that did not end.

    Example:
        >>> duration(75.2), duration(8.04), duration(None)
        ('1 min 15 s', '8 s', 'unfinished')
    """
    if seconds is None:
        return "unfinished"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
