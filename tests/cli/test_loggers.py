import http.server
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from unittest.mock import Mock

import pytest
import wandb

from salvit.callbacks.run_labels import RunLabels
from salvit.cli.loggers import claim_version, finish_wandb, wandb_logger
from salvit.extractors import parse_method

MADE_UP = "a" * 40
LABELS = RunLabels("vit_base", "VOC", {"agcam": parse_method("agcam")})


class Refusal(http.server.BaseHTTPRequestHandler):
    """A W&B server that knows no key."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"message": "user is not logged in"}]}')

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{found.server_port}")
        yield
        found.shutdown()


@pytest.fixture(autouse=True)
def wandb_as_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_DIR")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()  # it has read its settings from the environment
    yield
    wandb.teardown()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "no login"),
        ("short", "API key must have 40\\+ characters"),
        (MADE_UP, "Failed to authenticate.*not logged in"),
    ],
)
def test_a_key_that_is_none_or_made_up_is_no_end(server, monkeypatch, caplog, tmp_path, key, reason):
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    with caplog.at_level("INFO"), finish_wandb():
        logger = wandb_logger("p", "runs", "agcam/voc/version_3", LABELS, "test")
        assert logger.experiment.name == "vit_base · agcam · VOC · agcam/voc/version_3"
        assert logger.experiment.group == "vit_base · agcam · VOC"
        logger.log_metrics({"a": 1.0})
    [line] = [record.getMessage() for record in caplog.records if "W&B" in record.getMessage()]
    assert re.search(reason, line)
    assert "logging offline under runs/wandb" in line
    assert len(list(tmp_path.glob("runs/wandb/offline-run-*/*.wandb"))) == 1


@pytest.mark.slow
def test_a_key_without_a_network(monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", MADE_UP)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    with caplog.at_level("INFO"), finish_wandb():
        assert wandb_logger("p", "runs", "a/version_0", LABELS, "test") is not None
    assert "logging offline under runs/wandb" in caplog.text


def test_labels_that_are_longer_than_wandb_takes(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    labels = RunLabels("vit_" + "x" * 140, "VOC", {})
    with finish_wandb():
        run = wandb_logger("p", "runs", "a/version_0", labels, "test").experiment
        assert run.config["backbone"] == labels.backbone
        assert (len(run.name), len(run.group), [len(tag) for tag in run.tags]) == (128, 128, [64, 3])


def test_where_not_even_offline_works_the_run_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(wandb, "init", Mock(side_effect=OSError("No space left on device")))
    with caplog.at_level("INFO"):
        assert wandb_logger("p", "runs", "a/version_0", LABELS, "test") is None
    assert "W&B: No space left on device; going on without it" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"), [(None, 0), (ValueError(), 1), (SystemExit(2), 2), (KeyboardInterrupt(), 130)]
)
def test_runs_are_finished_with_the_status_of_the_run(monkeypatch, error, status):
    finish = Mock()
    monkeypatch.setattr(wandb, "finish", finish)
    with finish_wandb():
        pass
    finish.assert_not_called()
    monkeypatch.setattr(wandb, "run", object())
    with suppress(BaseException), finish_wandb():
        if error is not None:
            raise error
    finish.assert_called_once_with(exit_code=status)


def test_versions_go_on_from_the_highest(tmp_path):
    (tmp_path / "version_7").mkdir()
    (tmp_path / "version_x").mkdir()
    assert [claim_version(tmp_path) for _ in range(2)] == [8, 9]


def test_runs_that_start_at_once_have_different_folders(tmp_path):
    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(claim_version, [tmp_path] * 20)) == list(range(20))
