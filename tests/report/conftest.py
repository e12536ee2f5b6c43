import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

TITLE = "PopOut, test split, 2 images, profile exact"
METRICS = ("CC", "NSS", "SIM", "KLD", "sAUC", "AUC")
BASELINES = {"center prior": (0.2, 0.4), "random": (0.0, 0.1)}


def write_csv(path: Path, rows: list[dict]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def make_run(tmp_path) -> Callable[..., Path]:
    """Makes a log folder `name/version` with what the command line leaves there."""

    def make(name: str, version: str, stage: str, started: str = "2026-01-01T00:00:00", **command) -> Path:
        folder = tmp_path / name / version
        folder.mkdir(parents=True)
        record = {
            "command": f"salvit {stage} --config a.yaml",
            "stage": stage,
            "started": started,
            "seconds": 75.2,
            "machine": "Linux x86_64, 2 CPU cores",
            "device": "CPU",
            "versions": {"python": "3.11.7", "torch": "2.15.0"},
            **command,
        }
        extractor = {"class_path": "salvit.extractors.RawAttention", "init_args": {"block": -1, "rows": None}}
        config = {
            "seed_everything": 7,
            "model": {"init_args": {"vit": "salvit_tiny", "extractor": extractor}},
        }
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return folder

    return make


@pytest.fixture
def make_test(make_run) -> Callable[..., Path]:
    """Makes the log folder of a test run in which the model scores `scores` on two images, in every metric."""

    def make(
        name: str, scores: tuple = (0.5, 0.7), version: str = "version_1", title: str = TITLE, **options
    ) -> Path:
        baselines = options.pop("baselines", BASELINES)
        folder = make_run(name, version, "test", **options)
        rows = [
            {"model": model, "image": f"image{index}", **dict.fromkeys(METRICS, score)}
            for model, both in {"RawAttention": scores, **baselines}.items()
            for index, score in enumerate(both)
        ]
        write_csv(folder / "per_image.csv", rows)
        (folder / "scores.md").write_text(f"{title}\n\n| model |\n")
        (folder / "pictures").mkdir()
        Image.new("RGB", (40, 30), "red").save(folder / "pictures/test.png")
        return folder

    return make


@pytest.fixture
def make_fit(make_run) -> Callable[..., Path]:
    """Makes the log folder of a fit with a training loss and, in rows of their own, validation scores."""

    def make(name: str, version: str = "version_0", **options) -> Path:
        folder = make_run(name, version, "fit", **options)
        rows = [
            {"epoch": 0, "step": step, "train/loss": 1 / (step + 1), "val/CC": "", "val/NSS": ""}
            for step in (9, 19)
        ]
        rows.append({"epoch": 0, "step": 19, "val/NSS": 1.5, "val/CC": 0.25, "lr-AdamW": 0.1})
        write_csv(folder / "metrics.csv", rows)
        return folder

    return make
