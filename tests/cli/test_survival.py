"""A run that was stopped goes on exactly; its end says so."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from salvit.cli.command import run
from salvit.errors import InvalidValueError
from salvit.modules.checkpoint import read_checkpoint

FIT = shlex.split("""
    fit --data PopOutDataModule --data.batch_size 4 --data.image_size 32 --data.num_workers 0 --data.train_size 14
    --data.val_size 2 --trainer.max_epochs 3 --trainer.log_every_n_steps 1 --trainer.num_sanity_val_steps 0
    --trainer.accelerator cpu --trainer.devices 1 --wandb false
""")
WARMUP = ("--model.warmup_epochs", "1")
DROPOUT = "{img_size: 32, patch_size: 8, embed_dim: 8, depth: 1, num_heads: 2, drop_rate: 0.5}"
CLASSIFIER = ["--model", "ClassificationModule", "--model.num_classes", "10", "--model.vit", DROPOUT, *WARMUP]

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LOCAL_RANK", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fit(vit_file):
    return [*FIT, "--model", "SaliencyModule", "--model.vit", str(vit_file()), *WARMUP]


def weights(folder):
    return torch.load(f"runs/{folder}/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def log(folder):
    return list(csv.DictReader(Path(f"runs/{folder}/metrics.csv").open()))


def assert_same_end(one, other):
    expected, found = weights(one), weights(other)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert log(other) == log(one)


@pytest.mark.parametrize(
    ("step", "workers", "model"), [(1, 0, []), (4, 1, []), (6, 1, []), (6, 0, CLASSIFIER)]
)
def test_a_resumed_fit_ends_as_if_it_had_not_stopped(fit, step, workers, model):
    fit = [*([*FIT, *model] if model else fit), "--data.num_workers", str(workers)]
    Path("every.yaml").write_text(
        yaml.safe_dump(
            {
                "trainer": {
                    "callbacks": [
                        {
                            "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                            "init_args": {"every_n_train_steps": 1, "save_top_k": -1, "filename": "{step}"},
                        }
                    ]
                }
            }
        )
    )
    run([*fit, "--name", "whole", "--config", "every.yaml"])
    path = f"runs/whole/version_0/checkpoints/step={step}.ckpt"
    run([*fit, "--name", "resumed", "--ckpt_path", path])
    assert len(log("whole/version_0")) == 12 + (
        6 if model else 3
    )  # a classifier also logs the loss of each epoch
    assert_same_end("whole/version_0", "resumed/version_0")


def test_what_follows_a_checkpoint_is_logged_anew(fit):
    run([*fit, "--name", "a", "--trainer.max_epochs", "1"])
    run([*fit, "--name", "a", "--ckpt_path", "last"])
    rows = log("a/version_1")
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(12))
    record = json.loads(Path("runs/a/version_1/run.json").read_text())
    assert record["continues"] == str(Path("runs/a/version_0").resolve())
    assert rows[:5] == [row | dict.fromkeys(rows[0].keys() - row.keys(), "") for row in log("a/version_0")]


def test_damaged_checkpoints(fit):
    run([*fit, "--name", "a"])
    path = Path("runs/a/version_0/checkpoints/last.ckpt")
    whole = path.read_bytes()
    (path.parent / "best.ckpt").write_bytes(whole)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (bytes(flipped), whole[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(InvalidValueError, match=r"cannot read .*last\.ckpt: .*best\.ckpt is whole"):
            read_checkpoint(path)
    (path.parent / "best.ckpt").unlink()
    with pytest.raises(InvalidValueError) as error:
        read_checkpoint(path)
    assert "is whole" not in str(error.value)


def test_a_full_disk_keeps_the_earlier_checkpoint(fit, monkeypatch, capsys):
    run([*fit, "--name", "a", "--trainer.max_epochs", "1"])
    before = Path("runs/a/version_0/checkpoints/last.ckpt").read_bytes()
    write = torch.save

    def full(content, file):
        write({"state_dict": {}}, file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SystemExit) as end:
        run([*fit, "--name", "a", "--ckpt_path", "last"])
    assert end.value.code == 1
    assert "cannot write" in (said := capsys.readouterr().err)
    assert "No space left" in said
    assert Path("runs/a/version_0/checkpoints/last.ckpt").read_bytes() == before
    assert not list(Path("runs").rglob(".part-*"))


def process(arguments, **environment):
    command = [sys.executable, "-m", "salvit", *arguments, "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def wait_for(path, running, seconds=0.0):
    while not Path(path).is_file():
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.01)
    time.sleep(seconds)


def ends(group, seconds=20):
    """Whether all processes of a group end."""
    for _ in range(50 * seconds):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


LONG = ("--data.train_size", "160", "--trainer.max_epochs", "4", "--data.num_workers", "1")
LAST = "runs/part/version_0/checkpoints/last.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_killed_and_resumed(fit, name, devices):
    fit = [*fit, *LONG, "--trainer.devices", str(devices)]
    assert process([*fit, "--name", "whole"]).wait() == 0
    running = process([*fit, "--name", "part"])
    wait_for(LAST, running, 0.1)
    os.killpg(running.pid, getattr(signal, name))
    said = running.communicate(timeout=60)[1]
    if name != "SIGKILL":
        assert running.returncode == {"SIGINT": 130, "SIGTERM": 143}[name], said
        assert said.count("salvit: ") == 1
        assert f"; to go on: salvit fit {fit[1]}" in said
        assert said.rstrip().endswith(f"--ckpt_path {LAST}")
    assert ends(running.pid)
    assert process([*fit, "--name", "part", "--ckpt_path", "last"]).wait() == 0
    assert_same_end("whole/version_0", "part/version_1")


@pytest.mark.slow
def test_two_processes_train_as_one(fit):
    fit = [*fit, *LONG]
    assert process([*fit, "--name", "one"]).wait() == 0
    two = [*fit, "--name", "two", "--trainer.devices", "2", "--data.batch_size", "2"]
    assert process(two).wait() == 0
    curves = [
        [float(row["train/loss"]) for row in log(f"{name}/version_0") if row["train/loss"]]
        for name in ("one", "two")
    ]
    assert len(curves[0]) == 160
    assert curves[1] == pytest.approx(curves[0], abs=1e-5)
    assert [path.name for path in Path("runs/two").iterdir()] == ["version_0"]


@pytest.mark.slow
def test_torchrun_decides_the_processes(fit):
    start = fit.index("--trainer.devices")
    options = [*fit[:start], *fit[start + 2 :]]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*command, "-m", "salvit", *options, "--name", "a"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in Path("runs/a").iterdir()] == ["version_0"]
    assert len([row for row in log("a/version_0") if row["train/loss"]]) == 6  # two batches of 8 an epoch


@pytest.mark.slow
def test_slurm_queues_again(fit, tmp_path):
    fit = [*fit, *LONG, "--name", "part"]
    assert process([*fit[:-1], "whole"]).wait() == 0
    fake = tmp_path / "bin/scontrol"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@" > called\n')
    fake.chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "salvit", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
    job |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    running = process(fit, **job)
    wait_for(LAST, running, 0.1)
    running.send_signal(signal.SIGUSR1)
    running.communicate(timeout=60)
    assert running.returncode == 143
    assert Path("called").read_text() == "requeue 7\n"
    step = torch.load("runs/part/requeued/7/requeued.ckpt", weights_only=True)["global_step"]
    assert step % 40
    assert process(fit, **job).wait() == 0
    assert_same_end("whole/version_0", "part/version_1")
    assert not Path("runs/part/requeued/7/requeued.ckpt").exists()
