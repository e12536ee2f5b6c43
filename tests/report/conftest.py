import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from salvit.results.kept import attention_text, small_photo, to_text

ABOUT = {"dataset": "PopOut", "release": None, "split": "test", "images": 2, "left_out": 0}
COLUMNS = {"CC": "↑", "NSS": "↑", "SIM": "↑", "KLD": "↓", "sAUC": "↑", "AUC": "↑"}
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

    def make(name: str, version: str, stage: str, options: dict | None = None, **record) -> Path:
        folder = tmp_path / name / version
        folder.mkdir(parents=True)
        record = {
            "command": f"salvit {stage} --config a.yaml",
            "stage": stage,
            "started": "2026-01-01T00:00:00",
            "seconds": 75.2,
            "machine": "Linux x86_64, 2 CPU cores",
            "device": "CPU",
            "versions": {"python": "3.11.7", "torch": "2.15.0"},
            "name": name,
            "model": f"tiny · {name}",
            "checkpoint": None,
            "checkpoint_sha256": None,
            "untrained": False,
            **record,
        }
        model = {"class_path": "salvit.modules.SaliencyModule", "init_args": {"lr": 0.1, **(options or {})}}
        config = {"seed_everything": 7, "model": model, "ckpt_path": record["checkpoint"]}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return folder

    return make


@pytest.fixture
def make_test(make_run) -> Callable[..., Path]:
    """Makes the log folder of a test run in which the model scores `scores` on two images, in every metric."""

    def make(
        name, scores=(0.5, 0.7), version="version_1", about=None, baselines=BASELINES, **options
    ) -> Path:
        folder = make_run(name, version, "test", **{"started": "2026-01-02T00:00:00", **options})
        rows = [
            {"model": model, "image": f"image{index}", **dict.fromkeys(COLUMNS, score)}
            for model, both in {"RawAttention": scores, **baselines}.items()
            for index, score in enumerate(both)
        ]
        write_csv(folder / "per_image.csv", rows)
        table = {"profile": "exact", "columns": COLUMNS, "per_image": "per_image.csv"}
        (folder / "scores.json").write_text(json.dumps({**ABOUT, **(about or {}), "tables": [table]}))
        return folder

    return make


@pytest.fixture
def make_fit(make_run) -> Callable[..., Path]:
    """Makes the log folder of a fit with a checkpoint, a training loss and, in other rows, scores."""

    def make(name: str, version: str = "version_0", weights: str = "", **options) -> Path:
        folder = make_run(name, version, "fit", **options)
        rows = [{"step": step, "train/loss": 1 / (step + 1), "val/CC": "", "val/NSS": ""} for step in (9, 19)]
        rows.append({"step": 19, "val/NSS": 1.5, "val/CC": 0.25, "lr-AdamW": 0.1})
        write_csv(folder / "metrics.csv", rows)
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints/last.ckpt").write_text(weights or str(folder))
        return folder

    return make


def checkpoint_of(fit: Path) -> dict:
    """What `run.json` says of a test of a fit's checkpoint."""
    path = fit / "checkpoints/last.ckpt"
    return {"checkpoint": str(path), "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.fixture
def make_explanations(make_run) -> Callable[..., Path]:
    """Makes the log folder of an explanation run: per method, what it scores on each image in CC, iou and ABPC."""

    def make(name: str, methods: dict[str, list[tuple[float, float, float]]], dataset="PopOut") -> Path:
        folder = make_run(name, "version_0", "test", model="vit", started="2026-01-03T00:00:00")
        groups = {"agreement with people": "CC", "localisation, boxes": "iou", "faithfulness": "ABPC"}
        names = list(groups.values())
        rows = [
            {"method": method, "image": f"image{index}", **dict(zip(names, scores, strict=True))}
            for method, several in methods.items()
            for index, scores in enumerate(several)
        ]
        write_csv(folder / "per_image.csv", rows)
        means = {
            (method, score): sum(one[index] for one in several) / len(several)
            for method, several in methods.items()
            for index, score in enumerate(names)
        }
        scores = [
            {
                "method": m,
                "score": s,
                "mean": mean,
                "low": mean - 0.1,
                "high": mean + 0.1,
                "images": len(methods[m]),
            }
            for (m, s), mean in means.items()
        ]
        write_csv(folder / "scores.csv", scores)
        differences = [
            {
                "score": s,
                "method": m,
                "other": o,
                "difference": mean - means[o, s],
                "low": -1,
                "high": 1,
                "images": 2,
            }
            for (m, s), mean in means.items()
            for o in methods
            if o != m
        ]
        if differences:
            write_csv(folder / "differences.csv", differences)
        every = {"group": "all groups", "columns": dict.fromkeys(names, "↑")}
        tables = [every, *({"group": group, "columns": {one: "↑"}} for group, one in groups.items())]
        about = {**ABOUT, "dataset": dataset, "settings": ["vit at 32×32"], "tables": tables}
        (folder / "scores.json").write_text(json.dumps(about))
        return folder

    return make


def keep(folder: Path, maps: dict[str, dict[str, list[list[float]]]], attention: bool = False) -> None:
    """Write what `KeptMaps` leaves in a run's folder: maps by image and method; attention with 2 blocks of 3 heads."""
    first = next(iter(next(iter(maps.values())).values()))
    grid = (len(first), len(first[0]))
    photo = small_photo(Image.new("RGB", (40, 30), "red"), 40)
    images = [
        {
            "name": name,
            "photo": photo,
            "maps": {method: to_text(torch.tensor(one)) for method, one in of_image.items()},
        }
        for name, of_image in maps.items()
    ]
    (folder / "maps.json").write_text(json.dumps({"of": len(maps), "grid": grid, "images": images}))
    if attention:
        tokens = 1 + grid[0] * grid[1]
        rows = torch.rand(2, 3, tokens, tokens, generator=torch.Generator().manual_seed(0)) ** 4
        text = attention_text(list(rows / rows.sum(-1, keepdim=True)), 1, grid, 1)
        about = {"grid": grid, "prefix": 1, "class_token": True, "blocks": 2, "heads": 3, "side": 1}
        one = {"name": next(iter(maps)), "photo": photo, "maps": {}, **text}
        (folder / "attention.json").write_text(json.dumps({**about, "images": [one]}))
