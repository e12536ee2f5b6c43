import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from salvit.callbacks.classification_scores import SCORES
from salvit.report.poster import figure, main, summary
from salvit.report.published import published

ABOUT = {"dataset": "PopOut", "split": "test", "images": 60, "method": "attention_gradient"}


@pytest.fixture
def make_test(tmp_path):
    """Makes the files of a test of a row, whose scores are all one number."""

    def make(row, seed, value, version=1, started="2026-01-01T00:00:00", **about):
        folder = tmp_path / f"poster/{row}/seed{seed}/version_{version}"
        folder.mkdir(parents=True)
        record = {"name": f"poster/{row}/seed{seed}", "started": started}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.yaml").write_text("{}")
        scores = dict.fromkeys(SCORES, value)
        (folder / "scores.json").write_text(
            json.dumps({**ABOUT, "masks": "exact masks", "constant": 0, "scores": scores, **about})
        )

    return make


def lines(folder):
    with (folder / "poster.csv").open() as file:
        return {(line["row"], line["score"]): line for line in csv.DictReader(file)}


def test_means_and_deviations_beside_the_poster(make_test, tmp_path, capsys):
    for seed, value in enumerate((0.1, 0.2, 0.6)):
        make_test("baseline", seed, value)
    make_test("no-norm", 0, 0.5, constant=15)
    make_test("demo", 0, 0.9)
    main([str(tmp_path)])
    found = lines(tmp_path)
    assert {row for row, _ in found} == {"baseline", "no-norm"}
    accuracy = found["baseline", "accuracy"]
    numbers = {key: float(accuracy[key]) for key in ("mean", "sd", "seeds", "published", "difference")}
    assert numbers == {"mean": 0.3, "sd": 0.264575, "seeds": 3, "published": 0.328, "difference": -0.028}
    assert found["no-norm", "SMM"]["sd"] == ""
    assert float(found["no-norm", "SMM"]["published"]) == 0.482
    assert "constant heatmaps, whose SMM is 0: no-norm 25%" in (tmp_path / "poster.md").read_text()
    header, _, *rows = (tmp_path / "poster.md").read_text().strip().splitlines()[2:]
    assert header.startswith("| row | train accuracy ↑ | accuracy ↑ |")
    assert rows[0].startswith("| baseline | 0.300 ±0.265 | 0.300 ±0.265 |")
    assert rows[1].startswith("| baseline, published | 0.476 | 0.328 |")
    assert rows[2].startswith("| baseline, difference | -0.176 | -0.028 |")
    assert rows[3].startswith("| no-norm | **0.500** |")
    title = (tmp_path / "poster.md").read_text().splitlines()[0]
    assert title.startswith("PopOut, test split, 60 images; SMM of attention_gradient, exact masks; mean ±")
    with Image.open(tmp_path / "poster.png") as picture:
        assert picture.width > 500
    assert "no-norm" in capsys.readouterr().out


def test_the_newest_test_of_a_seed_counts(make_test, tmp_path):
    make_test("baseline", 0, 0.1, version=2, started="2026-01-02T00:00:00")
    make_test("baseline", 0, 0.9, version=1, started="2026-01-01T00:00:00")
    main([str(tmp_path)])
    assert float(lines(tmp_path)["baseline", "F1"]["mean"]) == 0.1


def test_only_the_newest_tests_must_be_comparable(make_test, tmp_path):
    make_test("baseline", 0, 0.1)
    make_test("no-norm", 0, 0.1, version=1, masks="detected masks")
    make_test("no-norm", 0, 0.2, version=2, started="2026-01-02T00:00:00")
    main([str(tmp_path)])
    assert float(lines(tmp_path)["no-norm", "F1"]["mean"]) == 0.2


def test_the_figure_has_a_deviation_in_both_directions():
    runs = pd.DataFrame([{"row": "baseline", "seed": seed} | dict.fromkeys(SCORES, 0.5) for seed in "012"])
    runs["accuracy"], runs["SMM"] = (0.1, 0.2, 0.6), (0.02, 0.03, 0.04)
    drawing = figure("PopOut", summary(runs))
    assert drawing.axes[0].get_title() == "PopOut"
    ours, poster = drawing.axes[0].containers
    horizontal, vertical = (bars.get_segments()[0] for bars in ours[2])
    assert horizontal == pytest.approx(np.array([[0.3 - 0.264575, 0.03], [0.3 + 0.264575, 0.03]]), abs=1e-6)
    assert vertical == pytest.approx(np.array([[0.3, 0.02], [0.3, 0.04]]), abs=1e-6)
    assert poster[0].get_xydata().tolist() == [[0.328, 0.025]]
    assert [text.get_text() for text in drawing.axes[0].texts] == ["1", "1"]
    assert [text.get_text() for text in drawing.legends[0].get_texts()] == ["1 baseline"]


def test_without_masks_there_is_no_figure(make_test, tmp_path):
    make_test("baseline", 0, 0.1, scores={**dict.fromkeys(SCORES, 0.1), "SMM": None})
    main([str(tmp_path)])
    assert (tmp_path / "poster.md").exists()
    assert not (tmp_path / "poster.png").exists()


@pytest.mark.parametrize("about", [{"masks": "detected masks"}, {"dataset": "TinyImageNet"}, {"images": 7}])
def test_rows_that_cannot_be_compared(make_test, tmp_path, capsys, about):
    make_test("baseline", 0, 0.1)
    make_test("no-norm", 0, 0.1, **about)
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "cannot be compared" in capsys.readouterr().err


def test_no_row(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "`make sweep-arch` makes them" in capsys.readouterr().err


def test_each_row_changes_one_thing():
    """What the poster says of its series of models, of the rows in experiments/poster."""
    folder = Path(__file__).resolve().parents[2] / "experiments/poster"
    rows = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}
    base = rows.pop("base")["model"]["init_args"]["vit"]
    assert set(rows) == set(published("poster")["row"])
    changes = {}
    for row, config in rows.items():
        assert config["name"] == f"poster/{row}/seed${{seed_everything}}"
        vit = config["model"]["init_args"]["vit"]
        changes[row] = {key: value for key, value in vit.items() if base.get(key) != value}
        assert set(base) <= set(vit)
    assert changes.pop("baseline") == {}
    assert all(len(change) == 1 for change in changes.values())
    assert len({str(change) for change in changes.values()}) == 13
