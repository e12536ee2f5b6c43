"""Running again into the same folder: what is there is neither lost, nor computed again, nor mixed up."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salvit.explain import run as explain_run
from salvit.explain import writer as explain_writer
from salvit.explain.module import ExplainModule
from tests.datamodules.data.images import write_image
from tests.explaining import explain, failure, files, index

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.fixture
def computed(monkeypatch):
    """The methods that were called, with the number of images each time."""
    calls = []
    predict = ExplainModule.predict_step

    def counted(module, batch, batch_idx):
        calls.append((batch.step.method, len(batch.photos)))
        return predict(module, batch, batch_idx)

    monkeypatch.setattr(ExplainModule, "predict_step", counted)
    return calls


def interrupt(*command):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as exit_:
        explain(*command)
    assert exit_.value.code == 130
    assert signal.getsignal(signal.SIGINT) is handler


def interrupted(monkeypatch, command, method, at=0):
    """Run a command that is interrupted when a method is called for the n-th time."""
    predict, seen = ExplainModule.predict_step, []

    def interrupting(module, batch, batch_idx):
        seen.append(batch.step.method)
        if batch.step.method == method and seen.count(method) > at:
            raise KeyboardInterrupt
        return predict(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ExplainModule, "predict_step", interrupting)
        interrupt(*command)


def described(rows):
    return [(row["name"], row["method"]) for row in rows]


def assert_true(out="runs/explain"):
    """Every file that the table names is there, and every map that is there is in the table."""
    rows = index(out)
    named = {row[key] for row in rows for key in ("map", "overlay", "grid")} - {""}
    assert named <= set(files(out))
    assert {row["map"] for row in rows} == {name for name in files(out) if name.endswith(".npy")}


def times(out="runs/explain"):
    return {path: path.stat().st_mtime_ns for path in Path(out).rglob("*") if path.suffix in (".npy", ".png")}


@pytest.fixture
def images():
    return [write_image(Path(f"{name}.png"), (20, 30), seed) for seed, name in enumerate("abc")]


def test_an_interrupt_between_images(images, shapes, monkeypatch, capsys, computed):
    command = (*images, "--method", "rollout", "agcam", *shapes, "--batch-size", "1")
    interrupted(monkeypatch, command, "rollout", at=2)
    assert (
        "interrupted; what is done is in runs/explain, and the same command goes on"
        in capsys.readouterr().err
    )
    assert described(index()) == [(name, method) for name in "ab" for method in ("agcam", "rollout")]
    assert_true()
    del computed[:]
    explain(*command)
    assert computed == [("rollout", 1), ("agcam", 1)]
    assert "4 of 6 maps are in runs/explain already" in capsys.readouterr().err
    assert described(index()) == [(name, method) for name in "abc" for method in ("agcam", "rollout")]
    assert_true()


def test_an_interrupt_within_a_batch(images, shapes, monkeypatch, computed):
    command = (*images, "--method", "rollout", "agcam", *shapes)
    interrupted(monkeypatch, command, "agcam")
    assert described(index()) == [(name, "rollout") for name in "abc"]
    assert {row["grid"] for row in index()} == {""}
    assert_true()
    del computed[:]
    explain(*command)
    assert computed == [("agcam", 3)]
    assert {row["grid"] for row in index()} == {f"grids/{name}.png" for name in "abc"}
    assert_true()


def test_an_interrupt_before_the_first_map(images, shapes, monkeypatch, capsys):
    interrupted(monkeypatch, (*images, "--method", "rollout", *shapes), "rollout")
    assert capsys.readouterr().err.endswith("salvit: interrupted; no map is done yet\n")


def test_an_interrupt_while_the_model_is_loaded(images, shapes, monkeypatch, capsys):
    def interrupting(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(explain_run, "load_vit", interrupting)
    interrupt(*images, *shapes)
    assert "no map is done yet" in capsys.readouterr().err


def test_a_table_that_a_power_cut_left_out_of_date_is_written_anew(images, shapes, computed):
    command = (*images, "--method", "rollout", *shapes)
    explain(*command)
    rows = index()
    Path("runs/explain/explain.csv").write_text("image,na")
    explain(*command)
    assert (index(), len(computed)) == (rows, 1)


def test_the_same_command_again_changes_nothing(images, shapes, computed, capsys):
    command = (*images, "--method", "rollout", "agcam", *shapes)
    explain(*command)
    before, rows = times(), index()
    del computed[:]
    capsys.readouterr()
    explain(*command)
    assert (times(), index(), computed) == (before, rows, [])
    assert "6 of 6 maps are in runs/explain already" in capsys.readouterr().err


def test_more_images_and_methods_add_to_the_table(images, shapes, computed):
    a, b, c = images
    explain(a, b, "--method", "rollout", *shapes)
    del computed[:]
    explain(b, c, "--method", "agcam", "rollout", *shapes)
    assert computed == [("agcam", 2), ("rollout", 1)]
    assert described(index()) == [
        ("a", "rollout"),
        ("b", "agcam"),
        ("b", "rollout"),
        ("c", "agcam"),
        ("c", "rollout"),
    ]
    assert_true()
    record = json.loads(Path("runs/explain/explain.json").read_text())
    assert list(record["methods"]) == ["agcam", "rollout"]
    assert "agcam rollout" in record["command"]


def test_more_classes_and_the_predicted_one_stand_side_by_side(images, shapes, computed):
    explain(images[0], "--method", "agcam", *shapes)
    explain(images[0], "--method", "agcam", *shapes, "--target", "1")
    explain(images[0], "--method", "agcam", *shapes, "--target", "2", "1")
    assert len(computed) == 3
    assert [row["map"] for row in index()] == [f"maps/a/agcam{suffix}.npy" for suffix in ("", "_1", "_2")]


def test_a_grid_shows_what_the_last_command_asked_for(images, shapes):
    def shown():
        with Image.open("runs/explain/grids/a.png") as picture:
            return np.asarray(picture)

    explain(images[0], "--method", "rollout", "agcam", *shapes, "--out", "at_once")
    with Image.open("at_once/grids/a.png") as picture:
        at_once = np.asarray(picture)
    explain(images[0], "--method", "agcam", *shapes)
    alone = shown()
    explain(images[0], "--method", "rollout", "agcam", *shapes)
    np.testing.assert_array_equal(shown(), at_once)
    explain(images[0], "--method", "agcam", *shapes)
    np.testing.assert_array_equal(shown(), alone)


def test_what_was_deleted_is_made_again(images, shapes, computed):
    command = (*images, "--method", "rollout", "agcam", *shapes)
    explain(*command)
    rows = index()
    Path("runs/explain/maps/a/agcam.npy").unlink()
    Path("runs/explain/maps/b/rollout.png").unlink()
    Path("runs/explain/grids/c.png").unlink()
    del computed[:]
    explain(*command)
    assert sorted(computed) == [("agcam", 1), ("rollout", 1)]
    assert sorted(map(str, index())) == sorted(map(str, rows))
    assert_true()


def test_rows_of_deleted_files_go(images, shapes):
    a, b, _ = images
    explain(a, b, "--method", "rollout", *shapes)
    Path("runs/explain/maps/a/rollout.npy").unlink()
    explain(b, "--method", "rollout", *shapes)
    assert described(index()) == [("b", "rollout")]


@pytest.mark.parametrize("option", ["model", "weights", "size"])
def test_maps_of_another_model_or_size_are_not_mixed_up(images, shapes, vit_file, capsys, option):
    explain(*images, "--method", "rollout", *shapes)
    before, rows = times(), index()
    other = {
        "model": ("--model", vit_file(depth=3)),
        "weights": ("--model", vit_file(seed=1)),
        "size": (*shapes, "--image-size", "64"),
    }[option]
    message = failure(capsys, *images, "--method", "agcam", *other, status=2)
    assert message.startswith("runs/explain has maps by another model, other weights, another input size or")
    assert "input 32×32" in message
    assert "take another --out" in message
    assert (times(), index()) == (before, rows)
    explain(*images, "--method", "agcam", *other, "--out", "other")
    assert {row["method"] for row in index("other")} == {"agcam"}


def test_pictures_that_are_not_ours_are_no_results(images, shapes, computed):
    explain(images[0], "--method", "rollout", *shapes)
    overlay = Path("runs/explain/maps/a/rollout.png")
    Image.open(images[0]).save(overlay)
    explain(images[0], "--method", "rollout", *shapes)
    assert computed == [("rollout", 1)] * 2
    assert Image.open(overlay).info["salvit"]


def test_an_image_that_has_changed(images, shapes, capsys, computed):
    explain(*images, "--method", "rollout", *shapes)
    write_image(images[1], (20, 30), seed=9)
    before = times()
    del computed[:]
    message = failure(capsys, *images, "--method", "rollout", "agcam", *shapes, status=2)
    assert message.startswith("runs/explain has maps of another image than b.png by the name b")
    assert (times(), computed) == (before, [])
    [remedy] = [part for part in message.split() if part.startswith("runs/explain/maps")]
    for path in Path(remedy).iterdir():
        path.unlink()
    explain(*images, "--method", "rollout", *shapes)
    assert computed == [("rollout", 1)]


def test_a_grid_of_the_image_as_it_was_is_not_kept(images, shapes, monkeypatch):
    """Not even if the run that has computed the new maps was interrupted before it wrote the grid."""
    command = [images[1], "--method", "rollout", *shapes]
    explain(*command)
    write_image(images[1], (20, 30), seed=9)
    for path in Path("runs/explain/maps/b").iterdir():
        path.unlink()

    def interrupted_grid(*_):
        raise KeyboardInterrupt

    before = Path("runs/explain/grids/b.png").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(explain_writer, "grid", interrupted_grid)
        interrupt(*command)
    assert Path("runs/explain/grids/b.png").read_bytes() == before
    explain(*command)
    assert Path("runs/explain/grids/b.png").read_bytes() != before


def test_pictures_of_other_runs_are_no_images(shapes):
    write_image(Path("a.jpg"), (20, 30), 1)
    explain(".", "--method", "rollout", "--out", "runs/a", *shapes)
    explain(".", "--method", "agcam", "--out", "runs/b", *shapes)
    assert [row["image"] for row in index("runs/b")] == ["a.jpg"]


def test_nothing_but_pictures_of_a_run(images, shapes, capsys):
    explain(images[0], "--method", "rollout", *shapes)
    message = failure(capsys, "runs", "--out", "others", *shapes, status=2)
    assert message.startswith(
        "no image in the folder runs, nor below it, but what salvit explain has written"
    )


def test_another_image_of_the_same_name(shapes, capsys):
    one, two = (write_image(Path(folder) / "dog.png", (20, 30), seed) for seed, folder in enumerate("xy"))
    explain(one, "--method", "rollout", *shapes)
    message = failure(capsys, two, "--method", "agcam", *shapes, status=2)
    assert message.startswith(
        "runs/explain has maps of another image than y/dog.png by the name dog (of x/dog.png"
    )


def test_the_same_image_elsewhere(images, shapes, computed):
    explain(images[0], "--method", "rollout", *shapes)
    Path("moved").mkdir()
    images[0].rename("moved/a.png")
    explain("moved/a.png", "--method", "rollout", *shapes)
    assert computed == [("rollout", 1)]


def test_a_copy_keeps_its_own_maps(images, shapes, computed):
    explain(images[0], "--method", "rollout", *shapes)
    copy = Path("copy.png")
    copy.write_bytes(Path(images[0]).read_bytes())
    explain(copy, "--method", "rollout", *shapes)
    assert [(row["name"], row["image"]) for row in index()] == [("a", "a.png"), ("copy", "copy.png")]
    explain(images[0], copy, "--method", "rollout", *shapes)
    assert computed == [("rollout", 1), ("rollout", 1)]
    assert_true()
    images[0].unlink()
    explain(copy, "--method", "rollout", *shapes)
    assert [(row["name"], row["image"]) for row in index()] == [("a", "a.png"), ("copy", "copy.png")]


def test_names_that_were_swapped_are_refused(images, shapes, capsys):
    a, b, _ = images
    explain(a, b, "--method", "rollout", *shapes)
    rows = index()
    a.rename("other.png")
    b.rename("a.png")
    Path("other.png").rename("b.png")
    message = failure(capsys, "a.png", "--method", "rollout", *shapes, status=2)
    assert message.startswith("runs/explain has maps of another image than a.png by the name a")
    assert index() == rows


def test_a_damaged_overlay_is_made_anew_or_named(shapes, capsys, computed):
    image = write_image(Path("a.png"), (200, 300))
    explain(image, "--method", "rollout", *shapes)
    overlay = Path("runs/explain/maps/a/rollout.png")
    whole = overlay.read_bytes()
    overlay.write_bytes(whole[:60])
    explain(image, "--method", "rollout", *shapes)
    assert (overlay.read_bytes(), computed) == (whole, [("rollout", 1)] * 2)
    overlay.write_bytes(whole[: len(whole) * 3 // 4])
    message = failure(capsys, image, "--method", "rollout", "agcam", *shapes)
    assert "runs/explain/maps/a/rollout.png is damaged: delete it" in message
    overlay.unlink()
    explain(image, "--method", "rollout", "agcam", *shapes)
    assert_true()
