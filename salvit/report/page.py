"""One HTML page for a folder of runs, complete in itself: scores, pictures, curves, and how they were made."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from salvit.report.report import Report
from salvit.report.runs import Run
from salvit.report.scores import Scores
from salvit.report.table import UPPER_BOUND, cells, columns_of

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


def build_page(report: Report) -> str:
    """Write the page of a report: HTML that links to nothing.

    Args:
        report: what to show.
    """
    sections = [_table_section(scores, report.runs) for scores in report.tables]
    sections += [_pictures_section(report.pictures)] if report.pictures else []
    sections += [_curves_section(report.curves)] if report.curves else []
    sections.append(_origin_section(report.runs))
    template = Template(files("salvit.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(report.title), lead=_lead(report.runs), sections="\n".join(sections)
    )


def _lead(runs: Sequence[Run]) -> str:
    device = sorted({run.record["device"] for run in runs})
    seeds = sorted({str(run.config["seed_everything"]) for run in runs})
    seconds = sum(run.record["seconds"] or 0 for run in runs)
    return escape(
        f"{len(runs)} runs, {duration(seconds)} in all on {' and '.join(device)} "
        f"({runs[-1].record['machine']}), seed {', '.join(seeds)}, {runs[-1].started.replace('T', ' ')}"
    )


def _table_section(scores: Scores, runs: Sequence[Run]) -> str:
    tested = {run.label: run for run in runs if run.stage == "test"}
    columns = columns_of(scores.title)
    header = "".join(f"<th>{name} {arrow}</th>" for name, arrow in columns.items())
    rows = "".join(_table_row(scores, model, tested.get(model)) for model in scores.per_image)
    meanings = "".join(f"<dt>{name} {arrow}</dt><dd>{MEANINGS[name]}</dd>" for name, arrow in columns.items())
    return _section(
        "Scores",
        f"{scores.title}. Mean over images, ± its standard error; ↑ higher is better, ↓ lower.",
        f"<table><tr><th>model</th>{header}</tr>{rows}</table><dl>{meanings}</dl>",
    )


def _table_row(scores: Scores, model: str, run: Run | None) -> str:
    """The row of a model and its run, or of a baseline, which has none."""
    errors, columns = scores.errors[model], columns_of(scores.title)
    texts = [
        f"<td{' class=best' if best else ''}>{text}<small>{_error(errors.get(metric))}</small></td>"
        for metric, (text, best) in zip(
            columns, cells(scores.means[model], scores.means, columns), strict=True
        )
    ]
    note = describe_model(run.config) if run else BASELINES.get(model, "")
    kind = "" if run else " class=baseline"
    return f"<tr{kind}><td>{escape(model)}<small>{escape(note)}</small></td>{''.join(texts)}</tr>"


def _pictures_section(pictures: Mapping[str, bytes]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(label)}</figcaption>{_image(png, f'test images, {label}')}</figure>"
        for label, png in pictures.items()
    )
    note = "The first images of the test split. Maps run from their minimum (dark) to their maximum (bright)."
    return _section("Pictures", note, f'<div class="pictures">{figures}</div>')


def _curves_section(curves: bytes) -> str:
    note = "Training loss of single batches; scores on the val split. ↑ higher is better, ↓ lower."
    return _section("Training curves", note, _image(curves, "training curves"))


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
    return _section(
        "How these were made",
        f"Versions: {versions}.",
        "<table class=facts><tr><th>run</th><th>stage</th><th>time</th><th>command</th></tr>"
        f"{rows}</table>{configs}",
    )


def _section(heading: str, note: str, body: str) -> str:
    return f"<section><h2>{heading}</h2><p class=note>{escape(note)}</p>{body}</section>"


def _image(png: bytes, alternative: str) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alternative)}">'


def _command(run: Run) -> str:
    # A span per word, so that lines do not break within "--option".
    return " ".join(f"<span>{escape(word)}</span>" for word in run.record["command"].split(" "))


def _error(error: float | None) -> str:
    return "" if error is None else f"± {error:.3f}"


def describe_model(config: dict[str, Any]) -> str:
    """Backbone and extractor of a saliency config, on one line.

    Example:
        >>> extractor = {"class_path": "salvit.extractors.RawAttention", "init_args": {"block": -1}}
        >>> describe_model({"model": {"init_args": {"vit": "salvit_tiny", "extractor": extractor}}})
        'salvit_tiny, RawAttention(block=-1)'
    """
    model = config["model"]["init_args"]
    if not model["extractor"]:
        return f"{model['vit']}, default extractor"
    extractor = model["extractor"]
    options = ", ".join(
        f"{name}={value}" for name, value in extractor.get("init_args", {}).items() if value is not None
    )
    return f"{model['vit']}, {extractor['class_path'].rpartition('.')[2]}({options})"


def duration(seconds: float | None) -> str:
    """Seconds in words.

    Args:
        seconds: None for a run that did not end.

    Example:
        >>> duration(75.2), duration(8.04), duration(None)
        ('1 min 15 s', '8 s', 'unfinished')
    """
    if seconds is None:
        return "unfinished"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
