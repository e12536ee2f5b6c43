"""Which methods are taken, with which options, and what is said where the model does not support one."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from salvit.explain.methods import named_methods
from salvit.extractors import METHODS
from tests.explaining import explain, failure, files, index


def test_one_method_with_different_options(image, shapes):
    raw, rise = "raw_attention:block=[0,1]", "rise:masks=2"
    explain(image, "--method", "rollout", "rollout:rows=all", "--method", raw, rise, *shapes, "--target", 3)
    assert [row["method"] for row in index()] == [raw, rise, "rollout", "rollout:rows=all"]
    stems = ["raw_attention,block=[0,1]", "rise,masks=2_3", "rollout", "rollout,rows=all"]
    maps = [name for name in files() if name.startswith("maps")]
    assert maps == sorted(f"maps/dog/{stem}.{kind}" for stem in stems for kind in ("npy", "png"))
    assert not re.search(r'[<>:"\\|?*]', "".join(files())), "characters that Windows takes in no name"


@pytest.mark.parametrize(
    ("typed", "without", "expected"),
    [
        ([], [], {"agcam"}),
        (["all"], [], {*METHODS}),
        (["all", "rollout:rows=all"], [], {*METHODS, "rollout:rows=all"} - {"rollout"}),
        (["all", "rollout:rows=all", "rollout"], [], {*METHODS, "rollout:rows=all"}),
        (["all", "random"], ["rise", "random"], {*METHODS} - {"rise"}),
    ],
)
def test_all_methods_but_some(typed, without, expected):
    assert set(named_methods(typed, without)) == expected


def test_a_refused_method_says_which_option_would_do(image, vit_file, capsys):
    model = vit_file(class_token=False, global_pool="avg")
    message = failure(capsys, image, "--method", "rollout:rows=class", "--model", model, status=2)
    assert message.startswith("rollout:rows=class: the method needs a class token")
    assert 'use rows="auto"' in message


def test_the_list_of_methods_has_every_option(capsys):
    with pytest.raises(SystemExit) as exit_:
        explain("--list-methods")
    assert exit_.value.code == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert list(lines) == sorted(METHODS)
    assert lines["rollout"].split()[1:] == ["start_layer=0", "per_head=False", "rows='auto'"]
    assert lines["agcam"].split()[1:] == ["of", "a", "class", "rows='auto'"]


MINE = """import torch
from salvit.extractors import Extractor

class Mine(Extractor):
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def num_channels(self, vit):
        return 1

    def _maps(self, vit, images, target):
        return self.scale * images[:, :1, ::8, ::8]
"""


@pytest.fixture
def mine(in_an_empty_folder, monkeypatch):
    """A file in the current folder, of which nothing is left behind in this process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text):
        Path("methods_of_mine.py").write_text(text)
        sys.modules.pop("methods_of_mine", None)
        importlib.invalidate_caches()

    write(MINE)
    yield write
    sys.modules.pop("methods_of_mine", None)


def test_a_class_in_the_current_folder_is_a_method(image, shapes, mine, capsys):
    command = (image, "--method", "methods_of_mine.Mine", "methods_of_mine.Mine:scale=2.5", *shapes)
    explain(*command)
    assert [row["method"] for row in index()] == ["methods_of_mine.Mine", "methods_of_mine.Mine:scale=2.5"]
    assert "maps/dog/methods_of_mine.Mine,scale=2.5.npy" in files()
    mine(MINE.replace("self.scale *", "-self.scale *"))
    assert "methods_of_mine.Mine:scale=2.5 as it was before its code changed" in failure(
        capsys, *command, status=2
    )
    explain(image, "--method", "rollout", *shapes)
    explain(*command, "--out", "anew")


def test_a_class_that_cannot_be_imported(image, shapes, mine, capsys):
    mine("import torch\n1 / 0\n")
    message = failure(capsys, image, "--method", "methods_of_mine.Mine", *shapes, status=2)
    assert "problem in methods_of_mine" in message
