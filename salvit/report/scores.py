"""Scores of test runs, put together so that only comparable ones share a table."""

import csv
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from salvit.metrics import PROFILES, Profile
from salvit.report.runs import Run

PerImage = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Scores:
    """The scores of all runs on one dataset, split and profile.

    Attributes:
        title: dataset, release, split, number of images, profile.
        per_image: score of every image that could be scored, by model and metric; models before baselines.
    """

    title: str
    per_image: PerImage

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """Mean over images, by model and metric."""
        return _apply(fmean, self.per_image)

    @property
    def errors(self) -> dict[str, dict[str, float]]:
        """Standard error of the mean over images, by model and metric; 0 for a single image.

        Example:
            >>> Scores("", {"ours": {"CC": [0.0, 0.5, 1.0, 0.5]}}).errors["ours"]["CC"].__round__(3)
            0.204
        """
        return _apply(standard_error, self.per_image)


def file_names(profile: Profile) -> tuple[str, str]:
    """Files in a run's folder that hold the scores of a profile: the table, and the scores of every image.

    Example:
        >>> file_names("exact"), file_names("mit")
        (('scores.md', 'per_image.csv'), ('scores_mit.md', 'per_image_mit.csv'))
    """
    suffix = "" if profile == "exact" else f"_{profile}"
    return f"scores{suffix}.md", f"per_image{suffix}.csv"


def standard_error(scores: list[float]) -> float:
    """Standard error of the mean: the sample's standard deviation over √n; 0 for one score."""
    return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0


def collect_scores(runs: Iterable[Run]) -> list[Scores]:
    """Put the scores of test runs together.

    Runs share a table if it has one title and their baselines score the same: other test images or another train
    split, of which the center prior is made, are another table.

    Args:
        runs: of any stage; those that scored nothing are left out.

    Returns:
        In order of appearance. A model is named by its run; baselines appear once, below the models.
    """
    tables: dict[str, tuple[str, PerImage, PerImage]] = {}
    for run in runs:
        for table, images in (file_names(profile) for profile in PROFILES):
            if (run.folder / images).is_file():
                title = (run.folder / table).read_text(encoding="utf-8").partition("\n")[0]
                (_, model), *others = read_per_image(run.folder / images).items()
                _, models, _ = tables.setdefault(_key(title, dict(others)), (title, {}, dict(others)))
                models[run.label] = model
    return [Scores(title, {**models, **baselines}) for title, models, baselines in tables.values()]


def read_per_image(path: Path) -> PerImage:
    """Read `per_image.csv`: scores by model and metric, in the file's order, without images that have none."""
    scores: PerImage = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            model = scores.setdefault(row.pop("model"), {})
            del row["image"]
            for metric, score in row.items():
                model.setdefault(metric, []).extend([float(score)] if score else [])
    return scores


def _key(title: str, baselines: PerImage) -> str:
    means = Scores(title, baselines).means
    rounded = {
        name: {key: round(score, 3) for key, score in scores.items()} for name, scores in means.items()
    }
    return f"{title} {rounded}"


def _apply(statistic: Callable[[list[float]], float], per_image: PerImage) -> dict[str, dict[str, float]]:
    return {
        model: {metric: statistic(scores) for metric, scores in metrics.items() if scores}
        for model, metrics in per_image.items()
    }
