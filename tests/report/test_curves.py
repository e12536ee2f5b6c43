from salvit.report.curves import read_history


def test_history_has_training_first_then_the_metrics_in_the_order_of_the_table(make_fit):
    history = read_history(make_fit("a") / "metrics.csv")
    assert [(name, values.to_dict()) for name, values in history.items()] == [
        ("train/loss", {9: 0.1, 19: 0.05}),
        ("val/CC", {19: 0.25}),
        ("val/NSS", {19: 1.5}),
    ]
