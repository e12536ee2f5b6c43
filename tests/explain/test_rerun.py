"""Running again into the same folder: what is there is neither lost, nor computed again, nor mixed up."""

import json
import signal
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from salvit.explain.run import ExplainModule
from tests.datamodules.data.images import write_image
from tests.explaining import explain, failure, files, index


@pytest.fixture
def computed(monkeypatch):
    """The methods that were called, with the number of images each time."""
    calls = []
    predict = ExplainModule.predict_step

    def counted(module, batch, batch_idx):
        calls.append((batch["method"], len(batch["name"])))
        return predict(module, batch, batch_idx)

    monkeypatch.setattr(ExplainModule, "predict_step", counted)
    return calls


def interrupt(*command):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as exit_:
        explain(*command)
    assert exit_.value.code == 130
    assert signal.getsignal(signal.SIGINT) is handler


def interrupted(monkeypatch, command, after):
    """Run a command that is interrupted when a number of batches is done."""
    steps = iter([ExplainModule.predict_step] * after)
    stop = Mock(side_effect=KeyboardInterrupt)
    with monkeypatch.context() as patch:
        patch.setattr(ExplainModule, "predict_step", lambda *batch: next(steps, stop)(*batch))
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


@pytest.mark.parametrize(
    ("batch_size", "after", "done", "then"),
    [
        (1, 4, {"a": ["agcam", "rollout"], "b": ["agcam", "rollout"]}, [("rollout", 1), ("agcam", 1)]),
        (3, 1, {"a": ["rollout"], "b": ["rollout"], "c": ["rollout"]}, [("agcam", 3)]),
    ],
    ids=["between images", "within a batch"],
)
def test_an_interrupt(images, shapes, monkeypatch, capsys, computed, batch_size, after, done, then):
    command = (*images, "--method", "rollout", "agcam", *shapes, "--batch-size", batch_size)
    interrupted(monkeypatch, command, after)
    said = "interrupted; what is done is in runs/explain, and the same command goes on from there"
    assert said in capsys.readouterr().err
    assert described(index()) == [(name, method) for name, methods in done.items() for method in methods]
    assert {bool(row["grid"]) for row in index()} == {batch_size == 1}
    assert_true()
    del computed[:]
    explain(*command)
    assert computed == then
    assert f"{len(done) * len(done['a'])} of 6 maps are in runs/explain already" in capsys.readouterr().err
    assert described(index()) == [(name, method) for name in "abc" for method in ("agcam", "rollout")]
    assert {row["grid"] for row in index()} == {f"grids/{name}.png" for name in "abc"}
    assert_true()


@pytest.mark.parametrize("place", ["salvit.explain.run.load_vit", "timm.models.VisionTransformer.forward"])
def test_an_interrupt_before_the_first_map(images, shapes, monkeypatch, capsys, place):
    monkeypatch.setattr(place, Mock(side_effect=KeyboardInterrupt))
    interrupt(*images, "--method", "rollout", *shapes)
    assert capsys.readouterr().err.endswith("salvit: interrupted; no map is done yet\n")


def test_the_same_command_makes_what_is_not_there(images, shapes, computed, capsys):
    command = (*images, "--method", "rollout", "agcam", *shapes)
    explain(*command)
    before, rows = times(), index()
    del computed[:]
    capsys.readouterr()
    Path("runs/explain/explain.csv").write_text("image,na")  # as a power cut may leave it
    explain(*command)
    assert (times(), index(), computed) == (before, rows, [])
    assert "6 of 6 maps are in runs/explain already" in capsys.readouterr().err
    for name in ("maps/a/agcam.npy", "maps/b/rollout.png", "grids/c.png"):
        Path("runs/explain", name).unlink()
    Image.open(images[2]).save("runs/explain/maps/c/rollout.png")
    explain(images[1], "--method", "agcam", *shapes)
    assert described(index()) == [("a", "rollout"), ("b", "agcam"), ("c", "agcam")]
    explain(*command)
    assert sorted(computed) == [("agcam", 1), ("rollout", 2)]
    assert sorted(map(str, index())) == sorted(map(str, rows))
    assert_true()


def test_more_images_methods_and_classes_add_to_the_table(images, shapes, computed):
    a, b, c = images
    explain(a, b, "--method", "rollout", *shapes)
    explain(b, c, "--method", "agcam", "rollout", *shapes)
    explain(a, "--method", "agcam", *shapes, "--target", "1")
    explain(c, "--method", "agcam", *shapes, "--target", "2", "1")
    explain(c, "--method", "agcam", *shapes, "--target", "2", "1")
    assert computed == [("rollout", 2), ("agcam", 2), ("rollout", 1), *[("agcam", 1)] * 3]
    assert [row["map"] for row in index()] == [
        *("maps/a/agcam_1.npy", "maps/a/rollout.npy", "maps/b/agcam.npy", "maps/b/rollout.npy"),
        *("maps/c/agcam.npy", "maps/c/agcam_1.npy", "maps/c/agcam_2.npy", "maps/c/rollout.npy"),
    ]
    assert_true()
    record = json.loads(Path("runs/explain/explain.json").read_text())
    assert list(record["methods"]) == ["agcam"]
    assert record["command"].endswith("--target 2 1")


def test_a_grid_shows_what_the_last_command_asked_for(images, shapes):
    def shown(*methods, out="runs/explain"):
        explain(images[0], "--method", *methods, *shapes, "--out", out)
        with Image.open(f"{out}/grids/a.png") as picture:
            return np.asarray(picture)

    at_once = shown("rollout", "agcam", out="at_once")
    alone = shown("agcam")
    np.testing.assert_array_equal(shown("rollout", "agcam"), at_once)
    np.testing.assert_array_equal(shown("agcam"), alone)


@pytest.mark.parametrize("other", [{"depth": 3}, {"seed": 1}, {}], ids=["model", "weights", "size"])
def test_maps_of_another_model_or_size_are_not_mixed_up(images, shapes, vit_file, capsys, other):
    explain(*images, "--method", "rollout", *shapes)
    before, rows = times(), index()
    options = ("--model", vit_file(**other)) if other else (*shapes, "--image-size", "64")
    message = failure(capsys, *images, "--method", "agcam", *options, status=2)
    assert message.startswith("runs/explain has maps by another model, other weights, another input size or")
    assert "input 32×32" in message
    assert "take another --out" in message
    assert (times(), index()) == (before, rows)
    explain(*images, "--method", "agcam", *options, "--out", "other")
    assert {row["method"] for row in index("other")} == {"agcam"}


def test_an_image_that_has_changed_or_moved(images, shapes, capsys, computed, monkeypatch):
    command, grid = (*images, "--method", "rollout", *shapes), Path("runs/explain/grids/b.png")
    explain(*command)
    Path("moved").mkdir()
    explain(images[0].rename("moved/a.png"), *command[1:])
    write_image(images[1], (20, 30), seed=9)
    before, shown = times(), grid.read_bytes()
    assert computed == [("rollout", 3)]
    message = failure(capsys, *images[1:], "--method", "rollout", "agcam", *shapes, status=2)
    said = "runs/explain has maps of another image than b.png by the name b (of b.png, or as it was before"
    assert message.startswith(said)
    assert (times(), computed) == (before, [("rollout", 3)])
    [remedy] = [part for part in message.split() if part.startswith("runs/explain/maps")]
    for path in Path(remedy).iterdir():
        path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr("salvit.explain.writer.grid", Mock(side_effect=KeyboardInterrupt))
        interrupt(*command[1:])
    assert (computed, grid.read_bytes() == shown) == ([("rollout", 3), ("rollout", 1)], True)
    explain(*command[1:])
    assert grid.read_bytes() != shown, "the grid of the image as it was is not kept"


def test_pictures_of_runs_are_no_images(shapes, capsys):
    write_image(Path("a.jpg"), (20, 30), 1)
    explain(".", "--method", "rollout", "--out", "runs/a", *shapes)
    explain(".", "--method", "agcam", "--out", "runs/b", *shapes)
    assert [row["image"] for row in index("runs/b")] == ["a.jpg"]
    said = failure(capsys, "runs", "--out", "others", *shapes, status=2)
    assert said.startswith("no image in the folder runs, nor below it, but what salvit explain has written")


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
