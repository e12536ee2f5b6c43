import pandas as pd
import pytest

from salvit.report.curves import draw_curves, read_history


def test_history_has_training_first_then_the_metrics_in_the_order_of_the_table(make_fit):
    history = read_history(make_fit("a") / "metrics.csv")
    assert [(name, values.to_dict()) for name, values in history.items()] == [
        ("train/loss", {9: 0.1, 19: 0.05}),
        ("val/CC", {19: 0.25}),
        ("val/NSS", {19: 1.5}),
    ]


def test_every_name_has_a_panel_with_its_direction_and_a_line_per_run():
    loss, divergence = pd.Series({1: 0.5, 2: 0.25}), pd.Series({2: 0.9})
    figure = draw_curves({"a": {"train/loss": loss, "val/KLD": divergence}, "b": {"val/KLD": divergence}})
    first, second = figure.axes
    assert [panel.get_title() for panel in (first, second)] == ["train/loss ↓", "val/KLD ↓"]
    assert [line.get_xdata().tolist() for line in first.lines] == [[1, 2], []]
    assert [line.get_ydata().tolist() for line in second.lines] == [[0.9], [0.9]]
    assert [line.get_color() for line in first.lines] == [line.get_color() for line in second.lines]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_there_are_as_many_panels_as_names():
    for count in (1, 4, 5, 9):
        figure = draw_curves({"a": {f"val/{index}": pd.Series({0: 0.0}) for index in range(count)}})
        assert len(figure.axes) == count
    with pytest.raises(ValueError, match="no curves to draw"):
        draw_curves({"a": {}})
