import math
import statistics

import pytest

from salvit.report.runs import find_runs
from salvit.report.scores import Scores, collect_scores, read_per_image, standard_error


def test_runs_on_the_same_images_share_a_table_named_by_run_above_their_baselines(
    tmp_path, make_fit, make_test
):
    make_test("b_model", scores=(0.1, 0.3))
    make_test("a")
    make_fit("a")
    [scores] = collect_scores(find_runs(tmp_path))
    assert list(scores.per_image) == ["a", "b model", "center prior", "random"]
    assert scores.means["b model"]["KLD"] == pytest.approx(0.2)
    assert scores.means["center prior"]["CC"] == pytest.approx(0.3)


def test_another_dataset_is_another_table(tmp_path, make_test):
    make_test("a")
    make_test("b", title="OSIE, test split, 2 images, profile exact")
    first, second = collect_scores(find_runs(tmp_path))
    assert (first.title[:6], list(first.per_image)) == ("PopOut", ["a", "center prior", "random"])
    assert (second.title[:4], list(second.per_image)) == ("OSIE", ["b", "center prior", "random"])


def test_other_images_under_the_same_title_are_another_table(tmp_path, make_test):
    make_test("a")
    make_test("b", baselines={"center prior": (0.2, 0.41), "random": (0.0, 0.1)})
    assert len(collect_scores(find_runs(tmp_path))) == 2


def test_images_that_could_not_be_scored_are_left_out_of_the_mean(tmp_path, make_test):
    folder = make_test("a", scores=("", 0.6))
    per_image = read_per_image(folder / "per_image.csv")
    assert per_image["RawAttention"]["NSS"] == [0.6]
    assert Scores("", per_image).means["RawAttention"]["NSS"] == 0.6


def test_a_metric_that_scored_no_image_has_no_mean():
    assert Scores("", {"a": {"CC": []}}).means == {"a": {}}


def test_the_standard_error_is_the_deviation_over_root_n():
    sample = [0.0, 0.25, 1.0, 0.5]
    assert standard_error(sample) == pytest.approx(statistics.stdev(sample) / math.sqrt(4))
    assert standard_error([3.0]) == 0
