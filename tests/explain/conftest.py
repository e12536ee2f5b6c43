"""An empty folder to be in, an image, and tiny models."""

from pathlib import Path

import pytest

from tests.datamodules.data.images import write_image


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def image(in_an_empty_folder):
    return write_image(Path("dog.png"), (40, 60), 1)


@pytest.fixture
def shapes(vit_file):
    """Options that name a tiny model of ten classes."""
    return ("--model", vit_file())


@pytest.fixture
def imagenet(vit_file):
    """Options that name a tiny model of ImageNet's thousand classes."""
    return ("--model", vit_file(num_classes=1000))


@pytest.fixture
def headless(vit_file):
    return ("--model", vit_file(num_classes=0))
