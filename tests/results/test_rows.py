import math

import pandas as pd
import pytest
import torch

from salvit import results
from salvit.metrics import CC, NSS, BoxSweep
from salvit.metrics.functional import bootstrap_interval

IMAGES = [{"index": 2, "image": "a"}, {"index": 0, "image": "c"}, {"index": 1, "image": "b"}]


def kept(metric, *values):
    metric.restore(torch.tensor(values))
    return metric


@pytest.fixture
def rows():
    """Two models; the images were scored in another order than the dataset's, b not by NSS."""
    return results.collect(
        {
            "zebra": {"exact": [kept(CC(), 0.1, 0.3, 0.2), kept(NSS(), 1.0, 3.0, math.nan)]},
            "ape": {"exact": [kept(CC(), 0.4, 0.6, 0.5), kept(NSS(), 2.0, 5.0, 9.0)]},
        },
        IMAGES,
    )


def test_rows_and_wide_tables_are_in_the_order_of_the_dataset(rows):
    assert list(rows.columns) == ["image", "model", "profile", "score", "value"]
    assert len(rows) == 3 * 2 * 2
    first = rows[(rows["model"] == "zebra") & (rows["score"] == "CC")]
    assert list(first["image"]) == ["c", "b", "a"]
    assert list(first["value"]) == pytest.approx([0.3, 0.2, 0.1])
    wide = results.per_image(rows).reset_index()
    assert list(wide.columns) == ["model", "image", "CC", "NSS"]
    assert (list(wide["model"]), list(wide["image"])) == (["zebra"] * 3 + ["ape"] * 3, list("cbacba"))
    assert math.isnan(wide["NSS"][1])


def test_means_and_summary_are_over_the_images_that_could_be_scored(rows):
    means = results.means(rows)
    assert list(means.index) == ["zebra", "ape"]
    assert means.loc["zebra"].to_dict() == pytest.approx({"CC": 0.2, "NSS": 2})
    line = results.summary(rows).set_index(["model", "score"]).loc[("zebra", "NSS")]
    assert (line["mean"], line["images"]) == (2, 2)
    assert (line["low"], line["high"]) == bootstrap_interval(torch.tensor([3.0, math.nan, 1.0]))


def test_differences_are_of_the_images_that_all_models_were_scored_on(rows):
    lines = results.differences(rows).set_index(["score", "model", "other"])
    line = lines.loc[("NSS", "ape", "zebra")]
    assert line["difference"] == pytest.approx(1.5)
    assert line["images"] == 2
    assert line["low"] <= 1.5 <= line["high"]
    assert lines.loc[("NSS", "zebra", "ape"), "difference"] == pytest.approx(-1.5)
    assert lines.loc[("CC", "ape", "zebra"), "images"] == 3


def test_a_value_of_all_images_has_no_image_and_no_interval():
    metric = kept(BoxSweep(thresholds=(0.2, 0.5)), [0.1, 0.9] * 3)
    rows = results.collect({"rollout": {"localisation": [metric]}}, IMAGES[:1])
    [whole] = rows[rows["image"].isna()].to_dict("records")
    assert (whole["score"], whole["value"]) == ("best_threshold", pytest.approx(0.5))
    line = results.summary(rows).set_index("score").loc["best_threshold"]
    assert line["mean"] == pytest.approx(0.5)
    assert line[["low", "high", "images"]].isna().all()
    assert "best_threshold" not in results.per_image(rows)
    assert "best_threshold" not in set(results.differences(rows)["score"])


def test_means_by_what_else_is_known_of_the_images():
    images = [{**image, "category": kind} for image, kind in zip(IMAGES, ("b", "a", "b"), strict=True)]
    rows = results.collect({"ours": {"exact": [kept(CC(), 0.5, 1.0, 0.25)]}}, images)
    assert results.means(rows, by="category")["CC"].to_dict() == pytest.approx({"a": 1.0, "b": 0.375})


def test_a_table_as_csv_has_six_decimals_and_empty_cells(tmp_path):
    table = pd.DataFrame({"model": ["a, b", "c"], "CC": [0.5, math.nan]})
    results.write(tmp_path / "new", {"a.csv": table, "b.md": None, "c.json": {"images": 2}})
    assert (tmp_path / "new/a.csv").read_text() == 'model,CC\n"a, b",0.500000\nc,\n'
    assert (tmp_path / "new/c.json").read_text() == '{\n  "images": 2\n}\n'
    assert not (tmp_path / "new/b.md").exists()
