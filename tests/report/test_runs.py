import json
import shutil

import pytest

from salvit.report.runs import find_runs
from tests.report.conftest import checkpoint_of


def labels(folder, stage):
    return [run.label for run in find_runs(folder) if run.stage == stage]


def test_runs_are_labelled_by_their_models_in_natural_order(tmp_path, make_fit):
    for k in (16, 8, 128):
        make_fit(f"k={k}")
    assert labels(tmp_path, "fit") == ["tiny · k=8", "tiny · k=16", "tiny · k=128"]


def test_a_run_that_says_no_model_is_labelled_by_its_name_or_folder(tmp_path, make_fit):
    make_fit("a", model=None)
    path = make_fit("deep/er_one", model=None) / "run.json"
    path.write_text(path.read_text().replace('"name": "deep/er_one"', '"name": null'))
    assert labels(tmp_path, "fit") == ["a", "deep/er_one"]
    assert [run.label for run in find_runs(tmp_path / "deep/er_one")] == ["er_one"]
    assert [run.label for run in find_runs(tmp_path / "deep/er_one/version_0")] == ["version_0"]


def test_a_test_belongs_to_the_fit_whose_checkpoint_it_used(tmp_path, make_fit, make_test):
    first = make_fit("a", model="vit_a", started="2026-01-01T00:00:00")
    second = make_fit("a", version="version_1", model="vit_b", started="2026-01-01T01:00:00")
    for version, fit, model in (("version_2", second, "vit_b"), ("version_3", first, "vit_a")):
        make_test("a", version=version, model=model, **checkpoint_of(fit))
    runs = {run.folder.name: run for run in find_runs(tmp_path)}
    assert [runs[f"version_{i}"].label for i in range(4)] == ["vit_a", "vit_b", "vit_b", "vit_a"]
    assert runs["version_2"].fit.folder == second
    assert runs["version_3"].fit.folder == first


def test_a_fit_that_was_resumed_is_left_out(tmp_path, make_fit):
    first = make_fit("a", started="2026-01-01T00:00:00")
    make_fit("a", version="version_1", started="2026-01-01T01:00:00", continues=str(first))
    make_fit("b", continues="elsewhere")
    assert [run.folder.parent.name + run.folder.name for run in find_runs(tmp_path)] == [
        "aversion_1",
        "bversion_0",
    ]


def test_a_test_finds_its_fit_after_the_folder_was_moved(tmp_path, make_fit, make_test):
    fit = make_fit("runs/a", model="vit")
    make_fit("runs/b", model="vit", options={"lr": 0.2})
    make_test("runs/c", model="vit", **checkpoint_of(fit))
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    [test] = [run for run in find_runs(tmp_path / "moved") if run.stage == "test"]
    assert test.fit.folder.name == "version_0"
    assert test.fit.folder.parent.name == "a"
    assert test.label == "vit, lr=0.1"


def test_checkpoints_beside_the_versions_are_of_the_latest_fit_before_the_test(tmp_path, make_fit, make_test):
    for version, day in (("version_0", 1), ("version_1", 2), ("version_3", 4)):
        make_fit("a", version=version, started=f"2026-01-0{day}T00:00:00", options={"lr": day})
    path = str(tmp_path / "a/checkpoints/last.ckpt")
    make_test("a", version="version_2", started="2026-01-03T00:00:00", checkpoint=path)
    [test] = [run for run in find_runs(tmp_path) if run.stage == "test"]
    assert test.fit.folder.name == "version_1"


def test_a_checkpoint_from_elsewhere_has_no_fit_here(tmp_path, make_fit, make_test):
    make_fit("a", model="vit")
    make_test("b", model="vit", checkpoint="/elsewhere/last.ckpt", checkpoint_sha256="0" * 64)
    [test] = [run for run in find_runs(tmp_path) if run.stage == "test"]
    assert test.fit is None


def test_runs_of_one_model_are_told_apart_by_their_options(tmp_path, make_fit, make_test):
    for name, options in (("a", {"weights": "old.pth"}), ("b", {"weights": "new.pth"})):
        fit = make_fit(name, model="vit", options=options)
        make_test(name, model="vit", options=options, **checkpoint_of(fit))
    expected = ["vit, weights=new.pth", "vit, weights=old.pth"]
    assert labels(tmp_path, "fit") == labels(tmp_path, "test") == expected


def test_runs_without_any_difference_are_told_apart_by_their_folders_unless_datasets_differ(
    tmp_path, make_fit, make_test
):
    fit = make_fit("a", model="vit")
    for version, dataset in (("version_1", "OSIE"), ("version_2", "MIT1003")):
        make_test("a", version=version, model="vit", about={"dataset": dataset}, **checkpoint_of(fit))
    assert labels(tmp_path, "test") == ["vit", "vit"]
    make_test("a", version="version_3", model="vit", about={"dataset": "OSIE"}, **checkpoint_of(fit))
    assert labels(tmp_path, "fit") == ["vit"]
    assert "vit (a/version_3)" in labels(tmp_path, "test")
    make_test("b", model="vit", untrained=True)
    assert "vit (untrained)" in labels(tmp_path, "test")


def test_a_folder_without_runs_is_an_error_that_says_what_was_expected(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"no run under .*run\.json.*salvit fit"):
            find_runs(folder)


def cut(path):
    path.write_text(path.read_text()[:-20])


def replace(name, value):
    def change(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return change


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("run.json", cut),
        ("run.json", lambda path: path.write_text("[]")),
        ("run.json", lambda path: path.write_bytes(b"\xff")),
        ("run.json", replace("stage", "<script>alert(1)</script>")),
        ("run.json", replace("seconds", "<b>")),
        ("run.json", replace("versions", None)),
        ("config.yaml", lambda path: path.unlink()),
        ("config.yaml", lambda path: path.write_text("a: [")),
        ("scores.json", cut),
        ("scores.json", lambda path: path.write_text("[1]")),
        ("per_image.csv", lambda path: path.unlink()),
    ],
)
def test_a_damaged_run_is_named_and_left_out(tmp_path, make_test, file, damage):
    make_test("good")
    bad = make_test("bad")
    damage(bad / file)
    with pytest.warns(UserWarning, match=rf"^left out: {bad} is no whole run: ") as said:
        runs = find_runs(tmp_path)
    assert [run.record["name"] for run in runs] == ["good"]
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
