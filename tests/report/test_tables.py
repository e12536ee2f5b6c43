import json
import math
import statistics

import pytest

from salvit.report.runs import find_runs
from salvit.report.tables import read_tables
from tests.report.conftest import write_csv


def test_runs_on_the_same_images_share_a_table_above_their_baselines(tmp_path, make_fit, make_test):
    make_test("b", scores=(0.1, 0.3))
    make_test("a")
    make_fit("c")
    [table] = read_tables(find_runs(tmp_path))
    assert list(table.means.index) == ["tiny · a", "tiny · b", "center prior", "random"]
    assert table.means.at["tiny · b", "KLD"] == pytest.approx(0.2)
    assert table.means.at["center prior", "CC"] == pytest.approx(0.3)
    units = "KLD in nats, NSS in standard deviations"
    assert table.title == f"PopOut, test split, 2 images, profile exact ({units})"


@pytest.mark.parametrize(
    "about",
    [
        *(
            {"about": about}
            for about in ({"dataset": "OSIE"}, {"images": 3}, {"left_out": 1}, {"release": "2017"})
        ),
        {"baselines": {"center prior": (0.2, 0.41), "random": (0.0, 0.1)}},  # of other images
    ],
)
def test_what_is_not_comparable_is_another_table(tmp_path, make_test, about):
    make_test("a")
    make_test("b", **about)
    first, second = read_tables(find_runs(tmp_path))
    assert list(first.means.index) == ["tiny · a", "center prior", "random"]
    assert list(second.means.index) == ["tiny · b", "center prior", "random"]


@pytest.mark.parametrize(
    ("scores", "cell"),
    [
        (("", 0.6), ("0.600", "±0.000", True)),  # an image that could not be scored
        (("", ""), ("–", "", False)),
        ((0.25, 1.0), ("0.625", f"±{statistics.stdev([0.25, 1.0]) / math.sqrt(2):.3f}", True)),
    ],
)
def test_the_mean_and_its_standard_error_are_over_the_images_that_were_scored(
    tmp_path, make_test, scores, cell
):
    make_test("a", scores=scores)
    [table] = read_tables(find_runs(tmp_path))
    assert table.cell("tiny · a", "NSS") == cell


def test_an_explanation_run_has_a_table_of_methods(tmp_path, make_run, make_test):
    make_test("a")
    folder = make_run("people", "version_0", "test", model="vit")
    write_csv(
        folder / "scores.csv",
        [
            {"method": "rollout", "score": "CC", "mean": 0.5, "low": 0.25, "high": 0.75, "images": 2},
            {"method": "agcam", "score": "CC", "mean": 0.25, "low": "", "high": "", "images": 1},
        ],
    )
    tables = [{"group": "all groups", "columns": {"CC": "↑"}}, {"group": "people", "columns": {"CC": "↑"}}]
    about = {"dataset": "OSIE", "split": "test", "images": 2, "left_out": 0, "settings": ["vit at 32×32"]}
    (folder / "scores.json").write_text(json.dumps({**about, "tables": tables}))
    _, table = read_tables(find_runs(tmp_path))
    assert table.title == "vit: OSIE, test split, 2 images; vit at 32×32"
    assert list(table.means.index) == ["rollout", "agcam"]
    assert table.cell("rollout", "CC") == ("0.500", "±0.250", True)
    assert table.cell("agcam", "CC") == ("0.250", "", False)
