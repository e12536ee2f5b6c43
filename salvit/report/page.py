"""The page of a report: one HTML file with its style, scripts and data, which links to nothing.

The parts are files in `parts/`. Charts are SVG, drawn by 250 lines of script: Plotly would add 4 MB to each page.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd

from salvit.report.attention import Source, explorers
from salvit.report.charts import Chart
from salvit.report.data import gallery_data, script_json, table_data
from salvit.report.export import parts_of
from salvit.report.galleries import Gallery
from salvit.report.runs import Run
from salvit.report.tables import PUBLISHED, Comparison
from salvit.results import Table
from salvit.results.kept import PEOPLE
from salvit.results.observers import UPPER_BOUND

_SCRIPTS = ("page.js", "tables.js", "charts.js", "maps.js", "gallery.js", "attention.js")

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


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title: title of the page.
        root: folder of the runs.
        runs: all runs under it.
        tables: their scores.
        charts: their curves.
        galleries: their maps.
        agreement: the matrix of rank correlations of each gallery, in the order of the galleries.
        attention: folders with kept attention.
        explained: for each folder of `salvit explain` the model's predictions: `name`, `predicted`, `probability`.
    """

    title: str
    root: Path
    runs: list[Run]
    tables: list[Comparison]
    charts: list[Chart]
    galleries: list[Gallery]
    agreement: list[pd.DataFrame]
    attention: list[Source]
    explained: dict[str, pd.DataFrame]


def page(report: Report) -> str:
    """The page as HTML."""
    attention, left_out = explorers(report.attention)
    sections: list[tuple[str, str, str]] = []  # identifier, heading, content
    if report.tables:
        tables = "".join(_comparison(index, one) for index, one in enumerate(report.tables))
        sections.append(("scores", "Scores", tables))
        if any(len(one.table.columns) > 1 for one in report.tables):
            sections.append(("scatter", "Scores against each other", _part("scatter.html")))
    if report.explained:
        sections.append(("explained", "What the model says", _explained(report.explained)))
    if report.charts:
        groups = dict.fromkeys(chart.group for chart in report.charts)
        content = "".join(
            f'<h3>{escape(name)}</h3><div data-charts="{escape(name)}"></div>' for name in groups
        )
        note = "Press a name to see its line alone. A band is the 95 % bootstrap interval over images."
        sections.append(("curves", "Curves", f"<p class=note>{note}</p>{content}"))
    matrices = [
        _matrix(gallery, matrix)
        for gallery, matrix in zip(report.galleries, report.agreement, strict=True)
        if len(matrix) > 1
    ]
    if matrices:
        sections.append(("agreement", "Agreement of the maps", "".join(matrices)))
    if report.galleries:
        sections.append(("gallery", "Gallery", _part("gallery.html")))
    if attention:
        note = (
            f"<p class=note>Left out, for the size of the page: {escape(left_out)}.</p>" if left_out else ""
        )
        sections.append(("attention", "Attention", _part("attention.html") + note))
    if report.runs:
        sections.append(("origin", "How these were made", _origin(report.runs, report.root)))
    data = {
        "tables": [table_data(one) for one in report.tables],
        "charts": [asdict(chart) for chart in report.charts],
        "galleries": [gallery_data(gallery) for gallery in report.galleries],
        "explorers": attention,
    }
    return Template(_part("page.html")).substitute(
        title=escape(report.title),
        style=_part("page.css"),
        script="\n\n".join(map(_part, _SCRIPTS)),
        lead=_lead(report),
        links="".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections),
        sections="\n".join(
            f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{heading}</h2>'
            f"{content}</section>"
            for name, heading, content in sections
        ),
        data=script_json(data),
    )


def _part(name: str) -> str:
    return files("salvit.report").joinpath("parts", name).read_text(encoding="utf-8").strip()


def _lead(report: Report) -> str:
    if not report.runs:
        return escape("; ".join(f"{gallery.title}, {gallery.of} images" for gallery in report.galleries))
    runs = report.runs
    device = sorted({run.record["device"] for run in runs})
    seeds = sorted({str(run.config["seed_everything"]) for run in runs})
    seconds = sum(run.record["seconds"] or 0 for run in runs)
    count = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    return escape(
        f"{count}, {duration(seconds)} in all on {' and '.join(device)} ({runs[-1].record['machine']}), "
        f"seed {', '.join(seeds)}, {runs[-1].started.replace('T', ' ')}"
    )


def _comparison(index: int, one: Comparison) -> str:
    parts = parts_of(one)
    note = "Mean over images, and the 95 % bootstrap interval of the mean; ↑ higher is better, ↓ lower."
    text = f"<h3>{escape(one.table.title)}</h3><p class=note>{note} Press a heading to sort.</p>"
    for number, (part, group) in enumerate(zip(parts, one.groups, strict=True)):
        shown = _table(part, one)
        if len(parts) > 1:
            opened = (
                " open" if number == 0 or any(row.endswith(PUBLISHED) for row in part.means.index) else ""
            )
            shown = f"<details{opened}><summary>{escape(group)}</summary>{shown}</details>"
        text += shown
    known = [(name, arrow) for name, arrow in one.table.columns.items() if name in MEANINGS]
    meanings = "".join(f"<dt>{name} {arrow}</dt><dd>{MEANINGS[name]}</dd>" for name, arrow in known)
    text += f"<dl>{meanings}</dl>" if meanings else ""
    text += "".join(f"<p class=note>Published: {escape(source)}.</p>" for source in one.sources)
    if len(one.differences):
        text += Template(_part("differences.html")).substitute(index=index)
    return text


def _table(table: Table, one: Comparison) -> str:
    header = f'<th scope="col"><button type="button">{table.rows}</button></th>' + "".join(
        f'<th scope="col" data-better="{arrow}"><button type="button">{escape(name)} {arrow}</button></th>'
        for name, arrow in table.columns.items()
    )
    body = "".join(_row(table, row, one) for row in table.means.index)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f'<table class="scores"><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(table: Table, row: str, one: Comparison) -> str:
    cells = ""
    for column in table.columns:
        mean, _, best = table.cell(row, column)
        value = table.means.at[row, column]
        small = _interval(one.low.at[row, column], one.high.at[row, column]) if column in one.low else ""
        if (beyond := one.beyond_published(row, column)) is not None:
            small = f"ours {beyond:+.3f}"
        number = "" if pd.isna(value) else f"{value:.6f}"
        cells += f'<td data-v="{number}"{" class=best" if best else ""}>{mean}<small>{small}</small></td>'
    note = BASELINES.get(row, "") if table.rows == "model" and row not in one.runs else ""
    kind = ' class="apart"' if row in table.apart else ""
    return (
        f'<tr{kind}><th scope="row" data-v="{escape(row)}">{_breakable(row)}<small>{escape(note)}</small></th>'
        f"{cells}</tr>"
    )


def _breakable(text: str) -> str:
    """Text as HTML that may be broken after an underscore and the like, so that names fit on a phone.

    Example:
        >>> _breakable("a_b<c")
        'a_<wbr>b&lt;c'
    """
    return re.sub("([_:,/=])", r"\1<wbr>", escape(text, quote=False))


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"[{low:z.3f}, {high:z.3f}]"


def _explained(explained: Mapping[str, pd.DataFrame]) -> str:
    text = ""
    for name, table in explained.items():
        head = "".join(f'<th scope="col">{column}</th>' for column in table.columns)
        rows = "".join(
            f'<tr><th scope="row">{escape(image)}</th><td>{escape(predicted)}</td><td>{escape(probability)}</td></tr>'
            for image, predicted, probability in table.itertuples(index=False)
        )
        text += (
            f'<h3>{escape(name)}</h3><div class="wide" tabindex="0" role="region" aria-label="{escape(name)}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return text


def _matrix(gallery: Gallery, matrix: pd.DataFrame) -> str:
    """A coloured table; a column is named by the number of its row, so that many fit."""
    header = "".join(f'<th scope="col">{number}</th>' for number in range(1, len(matrix) + 1))
    rows = ""
    for number, (row, values) in enumerate(matrix.iterrows(), start=1):
        cells = "".join(
            f'<td style="{_tint(value)}" title="{escape(f"{row} and {other}")}">{_hundredths(value)}</td>'
            for other, value in values.items()
        )
        rows += f'<tr><th scope="row">{number} {_breakable(str(row))}</th>{cells}</tr>'
    count = f"{len(gallery.pictures)} of {gallery.of} images"
    note = (
        "Spearman's rank correlation between the maps of one image, at the size of the patch grid, averaged over "
        f"{count}: 1 is the same order of places, 0 no relation."
    )
    note += f" {PEOPLE}: the density of fixations." if PEOPLE in matrix else ""
    return (
        f'<h3>{escape(gallery.title)}</h3><p class="note">{note}</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="agreement, {escape(gallery.title)}">'
        f'<table class="matrix"><thead><tr><th scope="col">map</th>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _hundredths(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:z.2f}"


def _tint(value: float) -> str:
    """Blue for agreement, red for the opposite, and black or white text, whichever can be read better on it.

    Example:
        >>> _tint(0.0), _tint(1.0)
        ('background:#f7f7f7;color:#000', 'background:#134b86;color:#fff')
    """
    if pd.isna(value):
        return ""
    end = (19, 75, 134) if value >= 0 else (150, 22, 40)
    colour = [round(247 + (to - 247) * min(1.0, abs(float(value)))) for to in end]
    # Relative luminance of WCAG 2.1, of colours above its threshold of 0.04.
    light = sum(
        part * ((one / 255 + 0.055) / 1.055) ** 2.4
        for part, one in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
    )
    ink = "#000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#fff"
    return f"background:#{bytes(colour).hex()};color:{ink}"


def _place(run: Run, root: Path) -> str:
    return run.folder.resolve().relative_to(root.resolve()).as_posix()


def _origin(runs: Sequence[Run], root: Path) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_breakable(run.label)}<small>{_breakable(_place(run, root))}</small></th>'
        f"<td>{escape(run.stage)}</td>"
        f'<td class="time">{duration(run.record["seconds"])}</td>'
        f"<td><code>{escape(run.record['command'])}</code></td></tr>"
        for run in runs
    )
    versions = ", ".join(f"{name} {number}" for name, number in runs[-1].record["versions"].items())
    configs = "".join(
        f"<details><summary>whole configuration of {escape(run.label)}, {escape(run.stage)}</summary>"
        f'<pre tabindex="0">{escape((run.folder / "config.yaml").read_text(encoding="utf-8"))}</pre></details>'
        for run in runs
    )
    header = "".join(f'<th scope="col">{name}</th>' for name in ("run", "stage", "time", "command"))
    return (
        f'<p class="note">Versions: {escape(versions)}.</p><table class="facts"><thead><tr>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{configs}"
    )


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
