import pytest

from salvit.report.runs import find_runs


def test_runs_are_labelled_by_the_name_they_logged_under(tmp_path, make_fit):
    make_fit("raw_attention")
    make_fit("deep/er")
    assert [run.label for run in find_runs(tmp_path)] == ["deep/er", "raw attention"]


def test_the_folder_of_one_run_is_a_report_of_one(tmp_path, make_fit):
    make_fit("osie")
    assert [run.label for run in find_runs(tmp_path / "osie")] == ["osie"]
    assert [run.label for run in find_runs(tmp_path / "osie/version_0")] == ["version 0"]


def test_labels_are_in_natural_order_and_stages_in_order_of_time(tmp_path, make_fit, make_test):
    for k in (16, 8, 128):
        make_test(f"k={k}", started="2026-01-02T00:00:00")
        make_fit(f"k={k}")
    runs = [(run.label, run.stage) for run in find_runs(tmp_path)]
    assert runs == [(f"k={k}", stage) for k in (8, 16, 128) for stage in ("fit", "test")]


def test_the_latest_run_of_a_label_and_stage_counts(tmp_path, make_fit):
    make_fit("a", version="version_9", started="2026-01-01T00:00:00")
    latest = make_fit("a", version="version_10", started="2026-01-03T00:00:00")
    make_fit("a", version="version_11", started="2026-01-02T00:00:00")
    [run] = find_runs(tmp_path)
    assert run.folder == latest


def test_a_folder_without_runs_is_an_error_that_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run under .*run\.json.*salvit fit"):
        find_runs(tmp_path)
    with pytest.raises(FileNotFoundError, match="no run under"):
        find_runs(tmp_path / "nowhere")
