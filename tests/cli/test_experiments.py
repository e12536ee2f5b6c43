"""`--config salvit:osie.yaml`: an experiment by its name, from any folder."""

from pathlib import Path

import pytest

from salvit.__main__ import main
from salvit.cli import experiments
from salvit.cli.experiments import experiments_folder, find_experiment, with_experiments
from salvit.errors import MissingFileError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_experiment_of_the_checkout_has_a_name():
    files = sorted((ROOT / "experiments").rglob("*.yaml"))
    assert files
    assert [find_experiment(path.relative_to(ROOT / "experiments").as_posix()) for path in files] == files


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"], ["-c", "{}"]])
def test_a_name_stands_where_a_file_may(form):
    words = [word.format("salvit:agcam/voc.yaml") for word in form]
    file = str(ROOT / "experiments/agcam/voc.yaml")
    assert with_experiments(["test", *words]) == ["test", *(word.format(file) for word in form)]


@pytest.mark.parametrize("name", ["../pyproject.toml", "slurm/submit.sh", "osie", ""])
def test_nothing_else_is_found(name):
    with pytest.raises(MissingFileError, match=f"no experiment salvit:{name}"):
        find_experiment(name)


def test_installed_experiments_win(tmp_path, monkeypatch):
    package = tmp_path / "site-packages/salvit"
    (package / "cli").mkdir(parents=True)
    monkeypatch.setattr(experiments, "__file__", str(package / "cli/experiments.py"))
    assert experiments_folder() == tmp_path / "site-packages/experiments"
    (package / "experiments").mkdir()
    assert experiments_folder() == package / "experiments"


def test_a_wrong_name_is_an_error_that_lists_the_names(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", "--config", "salvit:agcam/popuot.yaml"])
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert "no experiment salvit:agcam/popuot.yaml; did you mean salvit:agcam/popout.yaml?" in message
    assert "salvit:backbone.yaml, demo.yaml" in message
    assert "Traceback" not in message
    assert not list(Path().iterdir())


def test_its_options_are_read_and_typed_ones_win(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", "--config", "salvit:osie.yaml", "--data.root", "FOLDER", "--print_config"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert "datamodules.OSIEDataModule" in printed
    assert "root: FOLDER" in printed
