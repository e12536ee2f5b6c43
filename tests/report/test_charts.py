import pytest

from salvit.report.charts import perturbation_charts, randomisation_charts, sweep_charts, training_charts
from salvit.report.runs import find_runs
from salvit.report.tables import read_tables
from tests.report.conftest import checkpoint_of, write_csv


def test_a_training_chart_per_name_with_a_line_per_fit(tmp_path, make_fit):
    make_fit("a")
    make_fit("b")
    charts = training_charts(find_runs(tmp_path), {"CC": "↑"})
    assert [chart.title for chart in charts] == ["train/loss ↓", "val/CC ↑", "val/NSS"]
    assert [line.name for line in charts[0].lines] == ["tiny · a", "tiny · b"]
    assert (charts[0].lines[0].x, charts[0].lines[0].y) == ([9, 19], [0.1, 0.05])


def test_perturbation_has_both_orders(tmp_path, make_explanations):
    folder = make_explanations("a", {"agcam": [(0.5, 0.2, 0.1)]})
    rows = [
        {"method": "agcam", "curve": curve, "0": 1, "0.5": y, "1": 0}
        for curve, y in (("LeRF", 0.9), ("MoRF", 0.1))
    ]
    write_csv(folder / "curves.csv", rows)
    first, second = perturbation_charts(find_runs(tmp_path))
    assert (first.lines[0].name, first.lines[0].x, first.lines[0].y) == ("agcam", [0, 0.5, 1], [1, 0.9, 0])
    assert second.lines[0].y == [1, 0.1, 0]


def test_random_weights_begin_with_the_trained_model(tmp_path, make_explanations):
    folder = make_explanations("a", {"agcam": [(0.5, 0.2, 0.1)]})
    rows = [
        {"method": method, "score": score, "part": part, "correlation": value}
        for method, values in (("raw", (0.9, 0.2)), ("agcam", (0.5, -0.1)))
        for score in ("MPRT", "sMPRT")
        for part, value in zip(("head", "patch_embed"), values, strict=True)
    ]
    write_csv(folder / "sanity.csv", rows)
    plain, smooth = randomisation_charts(find_runs(tmp_path))
    assert [(line.name, line.x, line.y) for line in plain.lines] == [
        ("raw", [0, 1, 2], [1, 0.9, 0.2]),
        ("agcam", [0, 1, 2], [1, 0.5, -0.1]),
    ]
    assert plain.axis == "parts with random weights, head first"
    assert smooth.title == "sMPRT ↓: correlation with the trained map"


@pytest.mark.parametrize("count", [2, 3])
def test_a_sweep_of_three_values_is_a_curve_over_them(tmp_path, make_fit, make_test, count):
    for k in (16, 4, 8)[:count]:
        fit = make_fit(f"sweep-k/k={k}", model="tiny · salient_attention", options={"k": k})
        make_test(
            f"sweep-k/k={k}", scores=(k / 100, k / 50), model="tiny · salient_attention", **checkpoint_of(fit)
        )
    charts = sweep_charts(read_tables(find_runs(tmp_path)))
    assert len(charts) == (6 if count == 3 else 0)
    if charts:
        [line] = charts[0].lines
        assert charts[0].title == "CC ↑"
        assert charts[0].axis == "k"
        assert line.x == [4, 8, 16]
        assert line.y == pytest.approx([0.06, 0.12, 0.24])
        assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high, strict=True))
