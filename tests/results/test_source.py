import importlib
import sys

import pytest

from datamodules import PopOutDataModule
from salvit.extractors import Rollout
from salvit.results.source import code_of, package_hash

MODULE = """from salvit.extractors import Rollout

FACTOR = 2.0


class Mine(Rollout):
    pass
"""


@pytest.fixture
def own_class(tmp_path, monkeypatch):
    """A user's class in a file, by the source of that file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(source, name="of_my_own"):
        (tmp_path / f"{name}.py").write_text(source)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name).Mine

    yield make
    sys.modules.pop("of_my_own", None)


def test_shipped_classes_are_named_alone():
    assert code_of(Rollout()) == "salvit.extractors.rollout.Rollout"
    assert code_of(PopOutDataModule()).startswith("datamodules.")
    assert " " not in code_of(PopOutDataModule())
    assert len(package_hash()) == 64


def test_the_code_of_an_own_class_is_that_of_its_file(own_class):
    first = code_of(own_class(MODULE)())
    assert first.startswith("of_my_own.Mine ")
    assert code_of(own_class(MODULE)()) == first
    assert code_of(own_class(MODULE.replace("2.0", "3.0"))()) != first
    assert code_of(own_class(MODULE, "of_another")()) != first


def test_code_that_cannot_be_read_is_never_the_same():
    typed = type("Mine", (Rollout,), {"__module__": "nowhere"})
    assert code_of(typed()) != code_of(typed())
