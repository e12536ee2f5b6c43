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
SCRIPT = ROOT / "experiments/slurm/submit.sh"
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


def on_one_and_two_nodes(tmp_path, *arguments):
    """Run a command as one process, and as two agents of torchrun; returns both folders."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = ("--master-addr", "127.0.0.1", "--master-port", port)
    agent = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *address)
    nodes = ("--trainer.num_nodes", "2", "--trainer.strategy", "ddp")
    run(tmp_path / "one", ["-m", "salvit", *arguments])
    run(tmp_path / "two", *([*agent, "--node-rank", n, "-m", "salvit", *arguments, *nodes] for n in (0, 1)))
    return tmp_path / "one", tmp_path / "two"


def run(folder, *commands):
    """Run commands at the same time in a folder."""
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    with (folder / "log").open("w") as log:
        options = {"cwd": folder, "env": environment, "stdout": log, "stderr": log}
        processes = [
            subprocess.Popen([sys.executable, *map(str, command)], **options) for command in commands
        ]
    try:
        codes = [process.wait(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(codes), (folder / "log").read_text()


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
    options = (*data, *QUIET, *writer, "--trainer.callbacks.folder", "s", "--trainer.logger", "false")
    logs = []
    for folder in on_one_and_two_nodes(tmp_path, "predict", *command, *UNTRAINED, *options):
        with h5py.File(folder / "s/log_densities.h5") as file:
            logs.append({name: file[name][()] for name in file})
    one, two = logs
    assert two.keys() == one.keys() == {f"{number}.jpg" for number in range(5)}
    assert all(np.allclose(two[name], one[name], rtol=0, atol=1e-5) for name in one)


def test_the_slurm_script():
    assert os.access(SCRIPT, os.X_OK)
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    for typed, said in (([], "what to run is missing"), (["test"], "start it with sbatch")):
        done = subprocess.run(
            ["bash", SCRIPT, *typed], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
        )
        assert (done.returncode, said in done.stderr) == (2, True)


def test_the_slurm_script_starts_a_process_per_gpu(tmp_path):
    """srun stands in for Slurm's and says what it was asked for."""
    (tmp_path / "bin").mkdir()
    for path, content in (("bin/srun", 'printf "%s\\n" "$@"'), ("bin/python", "")):
        (tmp_path / path).write_text(f"#!/bin/sh\n{content}\n")
        (tmp_path / path).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "3", "SLURM_NTASKS_PER_NODE": "8"}
    place = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SALVIT_VENV": str(tmp_path)}
    command = ["bash", SCRIPT, "test", "--config", "a b.yaml"]
    words = subprocess.check_output(command, text=True, env={**slurm, **place}).splitlines()
    nodes = ["--trainer.num_nodes", "3", "--trainer.devices", "8", "--trainer.strategy", "ddp"]
    assert words[words.index("salvit") :] == ["salvit", "test", "--config", "a b.yaml", *nodes]
