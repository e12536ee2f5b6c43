import pandas as pd
import pytest
import torch

from salvit.metrics.functional import bootstrap_interval
from salvit.report import tables as module
from salvit.report.runs import find_runs
from salvit.report.tables import read_tables


def test_runs_on_the_same_images_share_a_table_above_their_baselines(tmp_path, make_fit, make_test):
    make_test("b", scores=(0.1, 0.3))
    make_test("a")
    make_fit("c")
    [one] = read_tables(find_runs(tmp_path))
    assert list(one.table.means.index) == ["tiny · a", "tiny · b", "center prior", "random"]
    assert one.table.means.at["tiny · b", "KLD"] == pytest.approx(0.2)
    assert one.table.means.at["center prior", "CC"] == pytest.approx(0.3)
    units = "KLD in nats, NSS in standard deviations"
    assert one.table.title == f"PopOut, test split, 2 images, profile exact ({units})"
    assert {row: run.folder.parent.name for row, run in one.runs.items()} == {
        "tiny · a": "a",
        "tiny · b": "b",
    }


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
    assert list(first.table.means.index) == ["tiny · a", "center prior", "random"]
    assert list(second.table.means.index) == ["tiny · b", "center prior", "random"]


def test_intervals_are_bootstrapped_over_the_images_that_were_scored(tmp_path, make_test):
    scores = [0.1, 0.9, 0.4, 0.55, ""]
    make_test("a", scores=scores, baselines={"random": (0.0, 0.5, 0.1, 0.2, 0.3)})
    [one] = read_tables(find_runs(tmp_path))
    low, high = bootstrap_interval(torch.tensor(scores[:-1], dtype=torch.float64))
    assert (one.low.at["tiny · a", "NSS"], one.high.at["tiny · a", "NSS"]) == pytest.approx((low, high))
    assert one.images.at["tiny · a", "NSS"] == 4
    assert one.images.at["random", "NSS"] == 5
    assert one.table.cell("tiny · a", "NSS") == ("0.487", f"±{(high - low) / 2:.3f}", True)


def test_a_score_of_no_image_is_no_number(tmp_path, make_test):
    make_test("a", scores=("", ""))
    [one] = read_tables(find_runs(tmp_path))
    assert one.table.cell("tiny · a", "NSS") == ("–", "", False)


def test_every_two_rows_are_compared_once_on_the_images_that_both_have(tmp_path, make_test):
    make_test("a", scores=(0.5, 0.7))
    make_test("b", scores=(0.25, ""))
    [one] = read_tables(find_runs(tmp_path))
    pairs = one.differences[one.differences["score"] == "CC"].set_index(["row", "other"])
    assert len(pairs) == 6
    assert pairs.at[("tiny · a", "tiny · b"), "difference"] == pytest.approx(0.25)
    assert pairs.at[("tiny · a", "tiny · b"), "images"] == 1


def test_an_explanation_run_has_a_table_of_methods_with_groups(tmp_path, make_explanations, make_test):
    make_test("a")
    make_explanations("people", {"rollout": [(0.5, 0.2, 0.1)], "agcam": [(0.25, 0.4, 0.3)]})
    _, one = read_tables(find_runs(tmp_path))
    assert one.table.title == "vit: PopOut, test split, 2 images; vit at 32×32"
    assert list(one.table.means.index) == ["rollout", "agcam"]
    assert one.table.cell("rollout", "CC") == ("0.500", "±0.100", True)
    assert one.groups["faithfulness"] == ["ABPC"]
    assert len(one.differences) == 3


def test_a_model_is_beside_the_published_row_that_its_run_is_named_after(tmp_path, make_test):
    name = "salicon/dino/salient_attention-32/seed0"
    make_test(name, scores=(0.5, 0.75), about={"dataset": "CAT2000"})
    [one] = read_tables(find_runs(tmp_path))
    row = "dino/salient_attention-32, published"
    assert one.table.means.at[row, "CC"] == 0.76
    assert one.beyond_published(row, "CC") == pytest.approx(0.625 - 0.76)
    assert one.beyond_published("dino/rollout, published", "CC") is None
    assert not one.table.cell(row, "CC")[2]
    assert one.sources == ["Djilali, McGuinness and O'Connor, 2023, Table 2"]


def test_published_rows_come_last_with_what_ours_is_beyond_them(tmp_path, make_explanations, monkeypatch):
    published = pd.DataFrame({"iou": {"agcam, published": 0.5, "other, published": 0.6}})
    monkeypatch.setattr(module, "published_methods", lambda dataset, columns: published)
    monkeypatch.setattr(module, "method_sources", lambda dataset: [f"a paper on {dataset}"])
    make_explanations("people", {"agcam": [(0.25, 0.75, 0.3)]}, dataset="VOC2012")
    [one] = read_tables(find_runs(tmp_path))
    assert list(one.table.means.index) == ["agcam", "agcam, published", "other, published"]
    assert one.beyond_published("agcam, published", "iou") == pytest.approx(0.25)
    assert one.beyond_published("other, published", "iou") is None
    assert one.beyond_published("agcam", "iou") is None
    assert one.beyond_published("agcam, published", "CC") is None
    assert one.table.cell("agcam", "iou") == ("0.750", "±0.100", True)
    assert one.sources == ["a paper on VOC2012"]
