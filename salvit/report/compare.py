"""`python -m salvit.report.compare TABLE FOLDER`: our rows of a published table beside the published ones.

`make table1`, `table2`, `table3` and `table-agcam` make the runs and call this. See docs/tables.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from salvit import results
from salvit.cli.failure import one_clear_error
from salvit.cli.interrupt import interruptible
from salvit.errors import InvalidValueError, MissingFileError
from salvit.report.published import published
from salvit.report.runs import Run, read_run
from salvit.results import Table

TABLES = ("table1", "table2", "table3", "agcam")
KEYS = ["dataset", "row", "score"]
LOWER_IS_BETTER = ("KLD", "MoRF")


def with_published(ours: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Our scores beside the published ones.

    Args:
        ours: `dataset`, `row`, `score` and `value`, a line for each seed.
        known: `dataset`, `row`, `score` and `value`, as from `salvit.report.published.published`.

    Returns:
        `dataset`, `row`, `score`, `mean` and `sd` over the seeds (of a sample; NaN for one seed), `seeds`,
        `published`, and `difference`, the mean minus the published score. The published order comes first.

    Example:
        >>> ours = pd.DataFrame({"dataset": "OSIE", "row": "a", "score": "CC", "value": [0.25, 0.75]})
        >>> known = pd.DataFrame({"dataset": "OSIE", "row": ["a"], "score": "CC", "value": 0.75})
        >>> with_published(ours, known)[["mean", "seeds", "published", "difference"]].values.tolist()
        [[0.5, 2.0, 0.75, -0.25]]
    """
    theirs = known.set_index(KEYS)["value"].rename("published")
    means = ours.groupby(KEYS, sort=False)["value"].agg(mean="mean", sd="std", seeds="count")
    both = means.reindex(theirs.index.append(means.index.difference(theirs.index, sort=False)))
    both = both.assign(published=theirs.reindex(both.index), seeds=both["seeds"].fillna(0).astype(int))
    return both.assign(difference=both["mean"] - both["published"]).reset_index()


def wide_table(title: str, scores: pd.DataFrame, columns: Sequence[str]) -> Table:
    """Scores from `with_published` of one dataset as a table: below our row the published one and the difference.

    Args:
        title: title of the table.
        scores: from `with_published`.
        columns: the scores to show.
    """
    wide = scores.pivot(index="row", columns="score")
    kinds = {"": "mean", ", published": "published", ", difference": "difference"}
    parts = [wide[kind].set_axis(wide.index + ending) for ending, kind in kinds.items()]
    means = pd.concat(parts).dropna(how="all")
    order = [row + ending for row in scores["row"].unique() for ending in kinds]
    means = means.reindex([row for row in order if row in means.index])
    arrows = {name: "↓" if name in LOWER_IS_BETTER else "↑" for name in columns}
    apart = means.index.difference(wide.index)
    return Table(title, arrows, means, wide["sd"].reindex(means.index), "row", list(apart))


def comparison(table: str, folder: Path) -> pd.DataFrame:
    """Read our rows of a table under a folder, and put them beside the published ones; see `with_published`.

    A folder may hold rows of several tables: only those with a method of this table are taken, and, where a dataset
    of the table was tested, only its datasets.

    Returns:
        As `with_published`, and `scored`, what was scored, in words; our datasets come first.

    Raises:
        FileNotFoundError, ValueError: see `read_scores`.
    """
    known, of_methods = published(table), table == "agcam"
    ours = read_scores(folder, of_methods)
    order = {method: place for place, method in enumerate(known["row"].map(_method).unique())}
    ours = ours.assign(vit=ours["row"].map(_vit), place=ours["row"].map(_method).map(order))
    if not of_methods:
        ours = ours.dropna(subset="place")
    ours = ours.sort_values(["vit", "place"], kind="stable")
    if (tested := ours["dataset"].isin(known["dataset"])).any():
        ours = ours[tested]
    ours = ours[ours["score"].isin(known["score"])]
    scored = ours.groupby("dataset")["scored"].first()
    both = with_published(ours, known)
    both["scored"] = both["dataset"].map(scored)
    return both.sort_values("scored", key=pd.isna, kind="stable", ignore_index=True)


def read_scores(folder: Path, rows_are_methods: bool = False) -> pd.DataFrame:
    """Read the newest test of each row, seed and dataset, from folders `ROW/seedN/version_M`.

    Args:
        folder: folder of all rows.
        rows_are_methods: whether a row is a method of an explanation run, instead of a folder.

    Returns:
        `dataset`, `scored` (what was scored, in words), `row`, `seed`, `score` and `value`.

    Raises:
        FileNotFoundError: if there is no test.
        ValueError: if rows of a dataset were tested on different images, or by different definitions or settings.
    """
    newest: dict[tuple[str, str, str], tuple[str, dict[str, float]]] = {}
    runs = (read_run(path.parent) for path in folder.rglob("scores.json"))
    for run in sorted(runs, key=lambda run: run.started):
        row, seed = _row_and_seed(run.folder.relative_to(folder))
        for method, values in _scores(run).items():
            key = (run.about["dataset"], method if rows_are_methods else row, seed)
            newest[key] = _scored(run.about, rows_are_methods), values
    if not newest:
        raise MissingFileError(
            f"no test under {folder}: expected ROW/seedN/version_M/scores.json, which `make` writes"
        )
    lines = [
        {"dataset": dataset, "scored": scored, "row": row, "seed": seed, "score": score, "value": value}
        for (dataset, row, seed), (scored, values) in newest.items()
        for score, value in values.items()
    ]
    scores = pd.DataFrame(lines)
    for dataset, of_dataset in scores.groupby("dataset"):
        if len(scored := of_dataset["scored"].unique()) > 1:
            raise InvalidValueError(
                f"rows of {dataset} under {folder} cannot be compared: {' / '.join(sorted(scored))}"
            )
    return scores


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """Dataset and folder of each complete submission under a folder."""
    runs = (read_run(path.parents[1]) for path in sorted(folder.rglob("submission/submission.json")))
    return [
        (
            run.config["data"]["class_path"].rpartition(".")[2].removesuffix("DataModule"),
            run.folder / "submission",
        )
        for run in runs
    ]


def _vit(row: str) -> str:
    return row.rpartition("/")[0]


def _method(row: str) -> str:
    return row.rpartition("/")[2]


def _row_and_seed(version: Path) -> tuple[str, str]:
    parts = version.parent.parts
    seed = parts[-1].removeprefix("seed") if parts and parts[-1].startswith("seed") else ""
    return "/".join(parts[:-1] if seed else parts), seed


def _scored(about: dict[str, Any], rows_are_methods: bool) -> str:
    if rows_are_methods:
        return "; ".join([results.describe(about), *about["settings"]])
    return f"{results.describe(about)}, profile {about['tables'][0].get('profile', 'exact')}"


def _scores(run: Run) -> dict[str, dict[str, float]]:
    """Mean scores by method; of a saliency model, which comes first in its table, by its name."""
    first = run.about["tables"][0]
    if "profile" in first:
        images = results.read_csv(run.folder / first["per_image"])
        model = images["model"].iloc[0]
        return {model: images.loc[images["model"] == model, list(first["columns"])].mean().to_dict()}
    means = results.read_csv(run.folder / "scores.csv").pivot(index="method", columns="score", values="mean")
    return means.to_dict("index")


def tables_of(table: str, scores: pd.DataFrame) -> list[Table]:
    """A table for each dataset of `comparison`."""
    known = published(table)
    tables = []
    for dataset, part in scores.groupby("dataset", sort=False):
        of_dataset = known[known["dataset"] == dataset]
        columns = (of_dataset if len(of_dataset) else known)["score"].unique()
        shown = [name for name in columns if name in set(part["score"])]
        sources = "; ".join(of_dataset["source"].unique()) or f"none for {dataset}"
        seeds = (
            f"; mean ± standard deviation over {part['seeds'].max()} seeds" if part["seeds"].max() > 1 else ""
        )
        scored = part["scored"].iloc[0]
        scored = f"{dataset}, not scored here" if pd.isna(scored) else scored
        tables.append(wide_table(f"{scored}{seeds}; published: {sources}", part, shown))
    return tables


def main(args: Sequence[str] | None = None) -> None:
    """Write `TABLE.csv` and `TABLE.md` into the folder of the runs, and print the tables.

    Raises:
        SystemExit: with status 2 if there is nothing to put together, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m salvit.report.compare", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("folder", type=Path, help="where the runs are, and where the table goes")
    options = parser.parse_args(args)
    with interruptible(), one_clear_error(status=2):
        scores = comparison(options.table, options.folder)
        tables = tables_of(options.table, scores)
        notes = _notes(options.table, options.folder)
        texts = [f"{table.title}\n\n{table.markdown()}" for table in tables]
        files = {f"{options.table}.csv": scores, f"{options.table}.md": "\n\n".join([*texts, *notes]) + "\n"}
        results.write(options.folder, files)
    console = Console()
    for table in tables:
        if len(table.apart) < len(table.means):  # the others hold published rows only
            console.print(*table.terminal(console.width), sep="\n")
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)
    print("written:", *(str(options.folder / name) for name in files))


def _notes(table: str, folder: Path) -> list[str]:
    """Where the maps of images without public fixations are."""
    datasets = set(published(table)["dataset"])
    found = [(data, path) for data, path in submissions(folder) if data in datasets]
    return [f"predicted, for the benchmark to score: {data}, {path}" for data, path in found]


if __name__ == "__main__":
    main()
