"""What holds for every test: one thread, no network, no login, and tiny ViTs on disk."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import wandb
from lightning.pytorch import Trainer

from datamodules import PopOutDataModule
from salvit.extractors import METHODS
from tests.tiny import quiet_trainer, save_vit, tiny_popout
from tests.wandb_file import OfflineRun

collect_ignore = ["pretend_gpu.py", "on_pretend_gpu.py"]
"""They change torch for the whole process; tests/test_other_device.py gives them one of their own."""


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def as_before():
    """Methods keep their order, and loggers their levels, which `-q` changes for the whole process."""
    methods = dict(METHODS)
    loggers = [logging.getLogger(name) for name in ("salvit", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    yield
    METHODS.clear()
    METHODS.update(methods)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def without_network_or_login(monkeypatch, tmp_path):
    """Nothing but this machine answers, W&B is off unless a test turns it on, and no account is found."""
    connect = socket.socket.connect

    def local(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"tests have no network, so {address[0]} cannot be reached")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("SALVIT_CACHE", str(tmp_path / "cache"))
    for variable in (
        "WANDB_API_KEY",
        "SALVIT_TRACEBACK",
        *(key for key in os.environ if key.endswith("_ROOT")),
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def offline_wandb(monkeypatch, tmp_path) -> Iterator[Callable[[], OfflineRun]]:
    """W&B records offline; reads the record of the newest run below the current folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.delenv("WANDB_DIR")
    wandb.teardown()  # it has read its settings from the environment
    read: set[Path] = set()

    def newest() -> OfflineRun:
        wandb.teardown()  # only now is the file whole
        [folder] = set(Path("runs/wandb").glob("offline-run-*")) - read
        read.add(folder)
        return OfflineRun(folder)

    yield newest
    wandb.teardown()


@pytest.fixture(scope="session")
def vit_file(tmp_path_factory) -> Callable[..., str]:
    """Names a tiny ViT's weights file; the same seed and options, the same file."""
    folder, made = tmp_path_factory.mktemp("vits"), {}

    def name(seed: int = 0, **options) -> str:
        key = (seed, *sorted(options.items()))
        if key not in made:
            made[key] = save_vit(folder / f"vit{len(made)}.safetensors", seed, **options)
        return made[key]

    return name


@pytest.fixture
def make_trainer(tmp_path) -> Callable[..., Trainer]:
    """Trainers that write to the test's folder."""
    return partial(quiet_trainer, tmp_path)


@pytest.fixture
def popout() -> PopOutDataModule:
    return tiny_popout()
