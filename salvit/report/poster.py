"""`python -m salvit.report.poster FOLDER`: the fourteen rows of the poster, over seeds, beside the poster's numbers.

Of Agrawal, Dayton and Dauber, "Visualizing Attention in Vision Transformers" (poster, Stanford University). `make
sweep-arch` makes the runs and calls this.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console

from salvit import results
from salvit.callbacks.classification_scores import SCORES
from salvit.cli.failure import one_clear_error
from salvit.cli.interrupt import interruptible
from salvit.errors import InvalidValueError, MissingFileError
from salvit.report.compare import wide_table, with_published
from salvit.report.published import published
from salvit.report.runs import Run, read_run


def read_runs(folder: Path) -> tuple[str, pd.DataFrame]:
    """Read the newest test of each row and seed under a folder.

    Returns:
        What was scored, in words; and `row`, `seed`, a column for each score, and `constant`, the share of heatmaps
        that are constant.

    Raises:
        FileNotFoundError: if there is no test of a row.
        ValueError: if the rows were tested on different images or masks.
    """
    newest: dict[tuple[str, str], Run] = {}
    rows = set(published("poster")["row"])
    for run in sorted(
        (read_run(path.parent) for path in folder.rglob("run.json")), key=lambda run: run.started
    ):
        row, _, seed = str(run.record["name"]).removeprefix("poster/").partition("/")
        if row in rows and "scores" in run.about:
            newest[row, seed] = run
    if not newest:
        raise MissingFileError(f"no test of a row of the poster under {folder}: `make sweep-arch` makes them")
    tests = {key: run.about for key, run in newest.items()}
    scored = {
        f"{results.describe(test)}; SMM of {test['method']}, {test['masks']}" for test in tests.values()
    }
    if len(scored) > 1:
        raise InvalidValueError(f"rows under {folder} cannot be compared: {' / '.join(sorted(scored))}")
    lines = [
        {"row": row, "seed": seed, **test["scores"], "constant": test["constant"] / test["images"]}
        for (row, seed), test in tests.items()
    ]
    return scored.pop(), pd.DataFrame(lines)


def constant_rows(runs: pd.DataFrame) -> str:
    """A line about the rows with constant heatmaps, whose SMM is 0; empty if there is none."""
    shares = runs.groupby("row", sort=False)["constant"].mean()
    named = ", ".join(f"{row} {share:.0%}" for row, share in shares.items() if share > 0)
    return f"\nconstant heatmaps, whose SMM is 0: {named}\n" if named else ""


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the seeds, beside the poster's numbers.

    Args:
        runs: `row`, `seed` and a column for each score.

    Returns:
        As `salvit.report.compare.with_published`, without the dataset: the rows that were run, in the poster's order.
    """
    known = published("poster")
    known = known[known["row"].isin(runs["row"])]
    long = runs.melt(["row"], list(SCORES), "score", "value").astype({"value": float})
    return with_published(long.assign(dataset="TinyImageNet"), known).drop(columns="dataset")


def figure(title: str, scores: pd.DataFrame) -> Figure | None:
    """Accuracy against SMM, each row numbered, with its standard deviations, and the poster's; None without SMM."""
    wide = scores.pivot(index="row", columns="score")
    if wide["mean"]["SMM"].isna().all():
        return None
    drawing = Figure(figsize=(9, 5), layout="constrained")
    axes = drawing.subplots()
    for kind, marker, colour in (("mean", "o", "tab:blue"), ("published", "x", "tab:red")):
        x, y = wide[kind]["accuracy"], wide[kind]["SMM"]
        bars = {"xerr": wide["sd"]["accuracy"], "yerr": wide["sd"]["SMM"]} if kind == "mean" else {}
        label = "here" if kind == "mean" else "poster"
        axes.errorbar(x, y, fmt=marker, color=colour, linestyle="none", capsize=2, label=label, **bars)
        for number, row in enumerate(wide.index, 1):  # names would cover each other
            point = (x[row], y[row])
            axes.annotate(str(number), point, (4, 3), textcoords="offset points", fontsize=8, color=colour)
    axes.margins(0.1)
    axes.set(xlabel="accuracy", ylabel="SMM")
    axes.set_title(title, fontsize=8)
    axes.legend()
    rows = [Line2D([], [], linestyle="none", label=f"{n} {row}") for n, row in enumerate(wide.index, 1)]
    drawing.legend(handles=rows, loc="outside right center", frameon=False, fontsize=8, handlelength=0)
    return drawing


def main(args: Sequence[str] | None = None) -> None:
    """Write `poster.csv`, `poster.md` and `poster.png` into the folder of the runs, and print the table.

    Raises:
        SystemExit: with status 2 if there is nothing to put together, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m salvit.report.poster", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the runs are, and where the table goes")
    folder = parser.parse_args(args).folder
    with interruptible(), one_clear_error(status=2):
        scored, runs = read_runs(folder)
        scores = summary(runs)
        title = f"{scored}; mean ± standard deviation; seeds: {scores['seeds'].max()}"
        shown = wide_table(title, scores, SCORES)
        files = {
            "poster.csv": scores,
            "poster.md": f"{title}\n\n{shown.markdown()}\n{constant_rows(runs)}",
            "poster.png": figure(title, scores),
        }
        results.write(folder, files)
    console = Console()
    console.print(*shown.terminal(console.width), sep="\n")
    console.print(constant_rows(runs), end="", soft_wrap=True, highlight=False)
    print("written:", *(str(folder / name) for name, content in files.items() if content is not None))


if __name__ == "__main__":
    main()
