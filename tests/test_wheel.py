"""The wheel, as an installed package in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.datamodules.data.osie import make_osie

ROOT = Path(__file__).resolve().parents[1]

pytest.importorskip("hatchling", reason="hatchling builds the wheel")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what the wheel installs, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    python(ROOT, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    [wheel] = folder.glob("salvit-*.whl")
    python(
        folder, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "site-packages", wheel
    )
    return folder / "site-packages"


def python(folder, *arguments, **variables):
    environment = {**os.environ, "WANDB_MODE": "disabled", **variables}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_wheel_has_the_packages_and_every_experiment(installed):
    assert sorted(path.name for path in installed.iterdir() if path.suffix != ".dist-info") == [
        "bin",
        "datamodules",
        "salvit",
    ]
    ours = {path.relative_to(ROOT) for path in (ROOT / "experiments").rglob("*.*")}
    assert ours == {
        path.relative_to(installed / "salvit") for path in installed.glob("salvit/experiments/**/*.*")
    }


def test_an_experiment_is_found_in_an_empty_folder(installed, tmp_path):
    show = (
        "import salvit, salvit.cli.experiments as e; print(salvit.__file__, e.find_experiment('osie.yaml'))"
    )
    package = installed / "salvit"
    printed = python(tmp_path, "-c", show, PYTHONPATH=str(installed))
    assert printed.split() == [str(package / "__init__.py"), str(package / "experiments/osie.yaml")]


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_an_empty_folder(installed, tmp_path):
    make_osie(tmp_path / "OSIE")
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    [block] = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    commands = [shlex.split(line) for line in re.findall(r"^salvit (.*)", block, re.MULTILINE)]
    assert [command for command, *_ in commands] == ["fit", "test"]
    short = {"fit": ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]}
    for command, *options in commands:
        words = [command, *options, *short.get(command, []), "--trainer.accelerator", "cpu"]
        printed = python(tmp_path, "-m", "salvit", *words, PYTHONPATH=str(installed))
    assert "salient_attention" in printed
    assert (tmp_path / "runs/osie/version_1/scores.md").is_file()
