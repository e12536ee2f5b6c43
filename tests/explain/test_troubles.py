"""What goes wrong outside the program ends in one sentence, and does not stop what can go on."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file, save_file

from salvit.explain.run import ExplainModule
from salvit.explain.writer import ExplanationWriter
from tests.datamodules.data.images import truncate, write_image
from tests.explaining import explain, failure, index
from tests.registry import nothing_computed

ROOT = Path(__file__).resolve().parents[2]


def in_a_process(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, "-m", "salvit", "explain", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("blocked", ["runs", "runs/explain", "runs/explain/maps", "runs/explain/grids"])
def test_a_file_in_the_place_of_a_folder(image, shapes, capsys, blocked):
    Path(blocked).parent.mkdir(parents=True, exist_ok=True)
    Path(blocked).write_text("in the way")
    with nothing_computed():
        message = failure(capsys, image, *shapes, status=2)
    assert message.startswith("cannot make the folder")
    assert "--out runs/explain" in message


def test_a_full_disk(shapes):
    write_image(Path("dog.png"), (300, 400))
    limit = (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    process = in_a_process(
        *("dog.png", "--method", "rollout", *shapes),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        stdout=subprocess.DEVNULL,
    )
    message = process.communicate()[1]
    assert process.returncode == 1
    assert "salvit: error: cannot write runs/explain/maps/dog/rollout.npy: " in message
    assert "Traceback" not in message
    assert not list(Path("runs").rglob(".part-*"))


def test_a_name_that_is_not_utf_8(image, shapes):
    image.rename(os.fsdecode(b"Gr\xf6\xdfe.png"))
    explain(".", "--method", "rollout", *shapes, "--out", os.fsdecode(b"\xff"))
    [row] = index(os.fsdecode(b"\xff"))
    assert (row["name"], row["image"]) == ("Gr??e", "Gr??e.png")


@pytest.mark.parametrize("classes", [10, 0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_gives_no_numbers(image, vit_file, tmp_path, capsys, classes, value):
    whole = Path(vit_file(num_classes=classes))
    state = load_file(whole)
    state["norm.bias"] += value
    save_file(state, tmp_path / "broken.safetensors")
    (tmp_path / "broken.json").write_text(whole.with_suffix(".json").read_text())
    message = failure(capsys, image, "--method", "rollout", "--model", tmp_path / "broken.safetensors")
    assert message.startswith("the model gives NaN or infinity")
    assert not list(Path("runs").rglob("*.np*"))


def test_weights_without_a_model_say_which_model_is_meant(image, tmp_path, capsys):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "mine.pth")
    message = failure(capsys, image, "--weights", tmp_path / "mine.pth", status=2)
    assert message.splitlines()[0].endswith("(the model is salvit_tiny unless --model names another)")


def test_too_little_memory(image, shapes, capsys, monkeypatch):
    out_of_memory = Mock(side_effect=torch.OutOfMemoryError("CUDA"))
    monkeypatch.setattr("timm.models.VisionTransformer.forward", out_of_memory)
    message = failure(capsys, image, "--method", "rollout", *shapes)
    assert message.startswith("rollout needs more memory than the device has for 1 images at a time")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["dog.png", "-q", "--method", "rollout", "--model", "salvit_tiny"]]
)
def test_a_reader_that_has_seen_enough(image, arguments):
    process = in_a_process(*arguments, stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() in (0, 1)  # argparse itself takes no notice where the page is written at once


def test_a_terminal_of_another_alphabet(shapes):
    write_image(Path("кошка.png"), (20, 30))
    command = ("кошка.png", "--method", "rollout", *shapes)
    process = in_a_process(*command, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    printed, wrong = process.communicate()
    assert process.returncode == 0, wrong
    assert r"\u043a\u043e\u0448\u043a\u0430.png" in printed


def test_the_bar_reaches_its_end_with_broken_images_among_others(image, shapes, capsys):
    write_image(Path("a.png"), (20, 30))
    truncate(write_image(Path("broken.png"), (200, 300)))
    Path("broken.jpg").write_text("no image")
    with pytest.raises(SystemExit):
        explain(".", "--method", "rollout", "agcam", *shapes, "--batch-size", "2", "--target", "1", "2")
    assert capsys.readouterr().err.split("━")[-1].split()[0] == "12/12"


def test_the_bar_is_there_before_the_first_map_and_says_what_is_being_made(image, shapes, monkeypatch):
    events = []
    bar, predict = ExplanationWriter.bar, ExplainModule.predict_step

    def watched(writer, console, total):
        progress = bar(writer, console, total)
        monkeypatch.setattr(progress, "start", lambda: events.append("shown"))
        monkeypatch.setattr(progress, "update", lambda task, **state: events.append(state.get("description")))
        return progress

    monkeypatch.setattr(ExplanationWriter, "bar", watched)
    monkeypatch.setattr(ExplainModule, "predict_step", lambda *a: events.append("computed") or predict(*a))
    write_image(Path("a.png"), (20, 30))
    explain(".", "--method", "rise:masks=2", "raw_attention:block=[0,1]", *shapes, "--target", "4")
    rise = "rise:masks=2 of class 4 (2 forward passes)"
    assert events == [
        "shown",
        *(rise, "computed", rise, "computed"),  # an image at a time: each may take minutes
        *("raw_attention:block=[0,1]", "computed", None),
    ]


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_results_go_to_stdout_and_everything_else_to_stderr(image, capfd, quiet):
    explain(image, *quiet, "--method", "rollout", "rise:masks=2")
    out, err = capfd.readouterr()
    assert "dog.png" in out
    assert out.endswith("maps and pictures are in runs/explain; explain.csv lists them\n")
    assert "forward passes" not in out
    if quiet:
        assert err == ""
        return
    assert "rise:masks=2 takes 2 forward passes per image and class" in err
    assert "2/2" in err
    assert "salvit_tiny knows ten shapes" in err
    assert "salvit explain dog.png --method rollout rise:masks=2 --model vit_base_patch16_224\n" in err


def test_one_process_also_where_a_cluster_has_started_several(image, shapes, monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job", "SLURM_JOB_ID": "1"}.items():
        monkeypatch.setenv(name, value)
    explain(image, "--method", "rollout", *shapes)
    assert len(index()) == 1
