"""Two nodes score and predict as one process does; the nodes are two torchrun agents on the loopback."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.datamodules.data.images import write_image

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("--data.train_size", "4", "--data.val_size", "5", "--data.test_size", "5")
DATA = ("--data", "PopOutDataModule", *SIZES)
UNTRAINED = ("--untrained", "true")
SMALL = ("--data.image_size", "32", "--data.batch_size", "1", "--data.num_workers", "0")
QUIET = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false")
LOGGER = ("--wandb", "false", "--name", "run")
SCORES = ("--trainer.callbacks", "salvit.callbacks.scores.Scores")


@pytest.fixture
def command(vit_file):
    return ("--model", "SaliencyModule", "--model.vit", vit_file())


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(folder, *command):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    with (folder / f"{len(list(folder.iterdir()))}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=folder, env=environment, stdout=log, stderr=log
        )


def wait(folder, processes):
    try:
        codes = [process.wait(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(codes), "\n".join(path.read_text() for path in folder.glob("*.log"))


def on_one_and_two_nodes(tmp_path, *arguments):
    one, two = tmp_path / "one", tmp_path / "two"
    wait(one, [start(one, "-m", "salvit", *arguments)])
    nodes = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1")
    agent = ("-m", "torch.distributed.run", *nodes)
    port = free_port()
    nodes = ("--trainer.num_nodes", "2", "--trainer.strategy", "ddp")
    wait(
        two,
        [
            start(two, *agent, "--master-port", port, "--node-rank", rank, "-m", "salvit", *arguments, *nodes)
            for rank in (0, 1)
        ],
    )
    return one, two


def rows(folder, name):
    with (folder / "runs/run/version_0" / name).open() as file:
        return sorted(tuple(row.items()) for row in csv.DictReader(file))


@pytest.mark.slow
def test_test(command, tmp_path):
    one, two = on_one_and_two_nodes(
        tmp_path, "test", *command, *UNTRAINED, *DATA, *SMALL, *QUIET, *LOGGER, *SCORES
    )
    assert rows(two, "per_image.csv") == rows(one, "per_image.csv")
    assert len({dict(row)["image"] for row in rows(one, "per_image.csv")}) == 5
    tables = [(folder / "runs/run/version_0/scores.md").read_text() for folder in (one, two)]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_validate(command, tmp_path):
    one, two = on_one_and_two_nodes(
        tmp_path, "validate", *command, *UNTRAINED, *DATA, *SMALL, *QUIET, *LOGGER
    )
    [expected], [found] = (rows(folder, "metrics.csv") for folder in (one, two))
    expected, found = ({key: float(value) for key, value in row} for row in (expected, found))
    assert "val/sAUC" in expected
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_predict(command, tmp_path):
    h5py = pytest.importorskip("h5py")
    for number in range(5):
        write_image(tmp_path / f"images/{number}.jpg", (20 + number, 30), number)
    data = ("--data", "ImageFolderDataModule", "--data.root", tmp_path / "images", *SMALL)
    writer = ("--trainer.callbacks", "salvit.callbacks.submission.SubmissionWriter")
    options = (
        *UNTRAINED,
        *data,
        *QUIET,
        *writer,
        "--trainer.callbacks.folder",
        "s",
        "--trainer.logger",
        "false",
    )
    folders = on_one_and_two_nodes(tmp_path, "predict", *command, *options)
    logs = []
    for folder in folders:
        with h5py.File(folder / "s/log_densities.h5") as file:
            logs.append({name: file[name][()] for name in file})
    one, two = logs
    assert two.keys() == one.keys() == {f"{number}.jpg" for number in range(5)}
    assert all(np.allclose(two[name], one[name], rtol=0, atol=1e-5) for name in one)


def test_the_slurm_script():
    script = ROOT / "experiments/slurm/submit.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    bare = {"PATH": os.environ["PATH"]}
    empty = subprocess.run(["bash", script], capture_output=True, text=True, env=bare)
    assert (empty.returncode, "what to run is missing" in empty.stderr) == (2, True)
    outside = subprocess.run(["bash", script, "test"], capture_output=True, text=True, env=bare)
    assert (outside.returncode, "start it with sbatch" in outside.stderr) == (2, True)


def test_the_slurm_script_starts_a_process_per_gpu(tmp_path):
    """srun stands in for Slurm's and says what it was asked for."""
    (tmp_path / "bin").mkdir()
    for path, content in (("bin/srun", 'printf "%s\\n" "$@"'), ("bin/python", "")):
        (tmp_path / path).write_text(f"#!/bin/sh\n{content}\n")
        (tmp_path / path).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "3", "SLURM_NTASKS_PER_NODE": "8"}
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**slurm, "PATH": path, "SALVIT_VENV": str(tmp_path)}
    done = subprocess.run(
        ["bash", ROOT / "experiments/slurm/submit.sh", "test", "--config", "a b.yaml"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[words.index("salvit") :] == [
        "salvit", "test", "--config", "a b.yaml", "--trainer.num_nodes", "3", "--trainer.devices", "8",
        "--trainer.strategy", "ddp",
    ]  # fmt: skip
