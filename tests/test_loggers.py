import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger

from salvit import loggers
from salvit.loggers import WandbLogger, finish_wandb


@pytest.fixture
def arguments(monkeypatch):
    """What Lightning's logger is given, instead of a run."""
    given = {}
    monkeypatch.setattr(LightningWandbLogger, "__init__", lambda self, **options: given.update(options))
    monkeypatch.delenv("WANDB_MODE")
    return given


def test_without_a_login(arguments, monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(wandb, "login", lambda prompt: asked.append(prompt) or False)
    with caplog.at_level("INFO"):
        WandbLogger(save_dir="runs", project="p")
    assert asked == [False]
    assert arguments == {"mode": "offline", "save_dir": "runs", "project": "p"}
    assert "W&B: no login; logging offline under runs/wandb" in caplog.text


def test_without_a_network(arguments, monkeypatch, caplog):
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    with caplog.at_level("INFO"):
        WandbLogger()
    assert arguments == {"mode": "offline"}
    assert "cannot be reached" in caplog.text


def test_with_a_login_and_a_network(arguments, monkeypatch):
    monkeypatch.setattr(loggers, "_why_offline", lambda: None)
    WandbLogger(project="p")
    assert arguments == {"project": "p"}


def refuse():
    pytest.fail("asked although the answer is given")


def test_offline_as_typed(arguments, monkeypatch):
    monkeypatch.setattr(loggers, "_why_offline", refuse)
    WandbLogger(offline=True)
    assert arguments == {"mode": "offline"}


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_the_environment_decides(arguments, monkeypatch, mode):
    monkeypatch.setattr(loggers, "_why_offline", refuse)
    monkeypatch.setenv("WANDB_MODE", mode)
    WandbLogger()
    assert arguments == {}


@pytest.mark.parametrize("error", [None, ValueError])
def test_runs_are_finished(monkeypatch, error):
    finished = []
    monkeypatch.setattr(wandb, "run", object())
    monkeypatch.setattr(wandb, "finish", lambda: finished.append(True))
    if error is None:
        with finish_wandb():
            assert not finished
    else:
        with pytest.raises(error), finish_wandb():
            raise error
    assert finished == [True]


def test_without_a_run_there_is_nothing_to_finish(monkeypatch):
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "finish", lambda: pytest.fail("nothing to finish"))
    with finish_wandb():
        pass
