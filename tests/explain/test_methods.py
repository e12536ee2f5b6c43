"""Which methods are taken, with which options, and what is said where the model does not support one."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from salvit.explain.methods import choose_methods, named_methods
from salvit.extractors import METHODS
from salvit.vit import load_vit
from tests.explaining import explain, failure, files, index

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


# Options


def test_one_method_with_different_options(image, shapes):
    explain(
        image, "--method", "rollout", "rollout:rows=all", "--method", "raw_attention:block=[0,1]", *shapes
    )
    assert [row["method"] for row in index()] == ["raw_attention:block=[0,1]", "rollout", "rollout:rows=all"]
    stems = ["raw_attention,block=[0,1]", "rollout", "rollout,rows=all"]
    maps = [name for name in files() if name.startswith("maps")]
    assert maps == sorted(f"maps/dog/{stem}.{kind}" for stem in stems for kind in ("npy", "png"))
    assert not re.search(r'[<>:"\\|?*]', "".join(files())), "characters that Windows takes in no name"


def test_the_class_comes_after_the_options(image, shapes):
    explain(image, "--method", "rise:masks=2", *shapes, "--target", "3")
    assert "maps/dog/rise,masks=2_3.npy" in files()


def test_all_beside_a_method_with_options(image, shapes, monkeypatch):
    monkeypatch.delitem(METHODS, "rise")  # 4000 forward passes
    explain(image, "--method", "all", "rollout:rows=all", *shapes)
    assert {row["method"] for row in index()} == {*METHODS, "rollout:rows=all"} - {"rollout"}
    explain(image, "--method", "all", "rollout:rows=all", "rollout", *shapes, "--out", "both")
    assert {row["method"] for row in index("both")} == {*METHODS, "rollout:rows=all"}


# Methods that the model does not support


def choice(typed, vit, size, without=()):
    return choose_methods(named_methods(typed, without), vit, size)


def test_a_refused_method_says_which_option_would_do(image, without_class_token, capsys):
    refused = (image, "--method", "rollout:rows=class", *without_class_token)
    message = failure(capsys, *refused, status=2)
    assert message.startswith("rollout:rows=class: the method needs a class token")
    assert 'use rows="auto"' in message


def test_methods_of_a_list_are_left_out_and_counted_once(image, headless, capsys):
    explain(image, "--method", "agcam", "rollout", "legrad", *headless)
    assert [row["method"] for row in index()] == ["rollout"]
    [line] = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert line.startswith("left out 2 of 3 methods, agcam and legrad: the method explains a class")


def test_where_the_default_method_is_not_supported_others_are_named(image, headless, capsys):
    message = failure(capsys, image, *headless, status=2)
    named = message.partition("the model supports others: ")[2].partition("\n")[0].split(", ")
    assert {"rollout", "raw_attention"} <= set(named)
    assert {"agcam", "legrad"}.isdisjoint(named)
    vit = load_vit(headless[1])
    assert list(choice(named, vit, (32, 32))[0]) == named


def test_methods_that_need_a_larger_grid_are_refused_before_anything_is_computed(image, shapes, capsys):
    command = (image, "--method", "salient_attention", *shapes, "--image-size", "8")
    assert "larger images" in failure(capsys, *command, status=2)
    assert files("runs") == []


def test_all_knows_the_size_of_the_input(shapes):
    vit = load_vit(shapes[1])
    assert "salient_attention" in choice(["all"], vit, (64, 64))[0]
    assert "salient_attention" in choice(["all"], vit, (8, 8))[1]


def test_all_without_some(shapes):
    vit = load_vit(shapes[1])
    every, _ = choice(["all"], vit, (64, 64))
    chosen, left_out = choice(["all", "random"], vit, (64, 64), ["rise", "random"])
    assert list(chosen) == [*(name for name in every if name not in ("rise", "random")), "random"]
    assert not left_out
    with pytest.raises(ValueError, match=r"--without .* leaves no method"):
        named_methods(["all"], list(METHODS))


def test_the_list_of_methods_has_every_option(capsys):
    with pytest.raises(SystemExit) as exit_:
        explain("--list-methods")
    assert exit_.value.code == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert list(lines) == sorted(METHODS)
    assert lines["rollout"].split()[1:] == ["start_layer=0", "per_head=False", "rows='auto'"]
    assert lines["agcam"].split()[1:] == ["of", "a", "class", "rows='auto'"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "all", "--without", "rsie"], 'no method "rsie"; did you mean "rise"?'),
        (["--method", "all", "--without", "rise:masks=2"], 'no method "rise:masks=2"'),
        (["--method", "all", "--without", "all"], '--without: no method "all"'),
        (["--method", "agcam", "--without", "rise"], "--method all, which was not typed"),
        (["--without", "rise"], "--method all, which was not typed"),
    ],
)
def test_without_what_is_not_there(image, shapes, capsys, options, said):
    assert said in failure(capsys, image, *options, *shapes, status=2)
    assert files("runs") == []


# Methods of one's own


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


def test_a_class_in_the_current_folder_is_a_method(image, shapes, mine):
    explain(image, "--method", "methods_of_mine.Mine", "methods_of_mine.Mine:scale=2.5", *shapes)
    assert [row["method"] for row in index()] == ["methods_of_mine.Mine", "methods_of_mine.Mine:scale=2.5"]
    assert "maps/dog/methods_of_mine.Mine,scale=2.5.npy" in files()


def test_maps_of_a_class_that_was_edited_are_not_taken(image, shapes, mine, capsys):
    command = (image, "--method", "methods_of_mine.Mine", "rollout", *shapes)
    explain(*command)
    mine(MINE.replace("self.scale *", "-self.scale *"))
    assert "methods_of_mine.Mine as it was before its code changed" in failure(capsys, *command, status=2)
    explain(image, "--method", "rollout", *shapes)
    explain(*command, "--out", "anew")


def test_a_class_that_cannot_be_imported(image, shapes, mine, capsys):
    mine("import torch\n1 / 0\n")
    assert "problem in methods_of_mine" in failure(
        capsys, image, "--method", "methods_of_mine.Mine", *shapes, status=2
    )
