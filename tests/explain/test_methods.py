"""Which methods are taken, with which options, and what is said where one has no meaning."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from salvit.explain.method_options import make_method
from salvit.explain.methods import choose_methods, file_label, label_of
from salvit.explain.spec import parse_spec
from salvit.extractors import METHODS, RISE, RawAttention, RelevanceLRP, Rollout, SalientAttention
from salvit.vit import load_vit
from tests.explaining import explain, failure, files, index

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


# Options


@pytest.mark.parametrize(
    ("text", "extractor"),
    [
        ("rollout:rows=all,start_layer=1", Rollout(rows="all", start_layer=1)),
        ("rollout:start_layer=-1,per_head=true", Rollout(start_layer=-1, per_head=True)),
        ("rise:masks=500,probability=0.25", RISE(masks=500, probability=0.25)),
        ("relevance_lrp:precision=double", RelevanceLRP(precision="double")),
        ("raw_attention:block=[0,1],rows=all", RawAttention(block=[0, 1], rows="all")),
        ("raw_attention:block=all", RawAttention(block="all")),
        ("salient_attention:tol=1e-05,rank=null", SalientAttention(tol=1e-5)),
    ],
)
def test_options_are_those_of_the_class(text, extractor):
    assert repr(make_method(parse_spec(text))) == repr(extractor)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rollout:rowz=all", "rollout has no option rowz; it has start_layer, per_head, rows"),
        ("agcam:rows=all", "agcam has no option rows; it has none at all"),
        ("rollout:rows=some", "rows should be (all or class|class or all); got some"),
        ("rollout:start_layer=1.5", "start_layer should be a whole number; got 1.5"),
        ("rise:masks=true", "masks should be a whole number; got true"),
        ("rise:probability=half", "probability should be a number; got half"),
        ("rollout:per_head=3", "per_head should be true or false; got 3"),
        ("salient_attention:rank=x", "rank should be a whole number or null; got x"),
        (
            "raw_attention:block=x",
            r"block should be a whole number or a list such as \[0,1\] \(a whole number each\) or all; got x",
        ),
        ("rise:masks=0", "masks, cells and batch_size must be at least 1; got 0, 7, 64"),
        ("attention_gradient:block=mean,per_head=true", "per_head needs a single block"),
    ],
)
def test_options_that_are_none_in_one_sentence(text, said):
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}: {said}[^\n]*$"):
        make_method(parse_spec(text))


@pytest.mark.parametrize("name", METHODS)
def test_a_label_is_how_the_method_is_typed(name):
    assert label_of(METHODS[name]()) == name
    for text in (f"{name}:{option}" for option in ("rows=all", "block=0", "per_head=true", "seed=3")):
        spec = parse_spec(text)
        if spec.options[0][0] in inspect.signature(METHODS[name]).parameters:
            assert label_of(make_method(spec)) == text


def test_default_options_and_another_order_are_the_same_method():
    typed = [
        parse_spec(text) for text in ("rollout:rows=all,start_layer=1", "rollout:start_layer=1,rows=all")
    ]
    assert {label_of(make_method(spec)) for spec in typed} == {"rollout:start_layer=1,rows=all"}
    assert label_of(make_method(parse_spec("rollout:rows=class"))) == "rollout"


def test_one_method_with_different_options(image, shapes):
    explain(
        image, "--method", "rollout", "rollout:rows=all", "--method", "raw_attention:block=[0,1]", *shapes
    )
    assert [row["method"] for row in index()] == ["rollout", "rollout:rows=all", "raw_attention:block=[0,1]"]
    stems = ["raw_attention,block=[0,1]", "rollout", "rollout,rows=all"]
    maps = [name for name in files() if name.startswith("maps")]
    assert maps == sorted(f"maps/dog/{stem}.{kind}" for stem in stems for kind in ("npy", "png"))
    assert not re.search(r'[<>:"\\|?*]', "".join(files())), "characters that Windows takes in no name"


def test_the_class_comes_after_the_options(image, shapes):
    explain(image, "--method", "rise:masks=2", *shapes, "--target", "3")
    assert "maps/dog/rise,masks=2_3.npy" in files()
    assert file_label("rise:masks=2") == "rise,masks=2"


def test_all_beside_a_method_with_options(image, shapes, monkeypatch):
    monkeypatch.setitem(METHODS, "rise", METHODS["random"])  # 4000 forward passes
    explain(image, "--method", "all", "rollout:rows=all", *shapes)
    assert [row["method"] for row in index()] == [
        *(name for name in METHODS if name != "rollout"),
        "rollout:rows=all",
    ]
    explain(image, "--method", "all", "rollout:rows=all", "rollout", *shapes, "--out", "both")
    assert {row["method"] for row in index("both")} == {*METHODS, "rollout:rows=all"}


# Methods without a meaning for the model


def test_a_refused_method_whose_rows_would_do_says_how_to_type_it(image, without_class_token, capsys):
    refused = (image, "--method", "rollout:start_layer=1", *without_class_token)
    message = failure(capsys, *refused, status=2)
    assert "needs a class token" in message
    [typed] = re.findall(r"\(type --method (\S+)\)", message)
    assert typed == "rollout:start_layer=1,rows=all"
    explain(image, "--method", typed, *without_class_token)
    assert [row["method"] for row in index()] == [typed]


def test_a_refused_method_whose_rows_would_not_do(image, without_class_token, capsys):
    message = failure(capsys, image, "--method", "agcam", *without_class_token, status=2)
    assert "type --method" not in message


def test_what_all_leaves_out_says_how_to_type_it(without_class_token):
    _, left_out = choose_methods([parse_spec("all")], load_vit(without_class_token[1]), (32, 32))
    assert left_out["rollout"].endswith(" (type --method rollout:rows=all)")
    assert "--method" not in left_out["agcam"]


def test_where_the_default_method_has_no_meaning_others_are_named(image, without_class_token, capsys):
    message = failure(capsys, image, *without_class_token, status=2)
    named = message.partition("others that have a meaning for the model: ")[2].partition("\n")[0].split(", ")
    assert {"legrad", "relevance_lrp", "rollout:rows=all", "generic_attention:rows=all"} <= set(named)
    assert {"agcam", "rollout"}.isdisjoint(named)
    vit = load_vit(without_class_token[1])
    assert list(choose_methods([parse_spec(name) for name in named], vit, (32, 32))[0]) == named


def test_methods_that_need_a_larger_grid_are_refused_before_anything_is_computed(image, shapes, capsys):
    command = (image, "--method", "agcam", "salient_attention", *shapes, "--image-size", "8")
    assert "larger images" in failure(capsys, *command, status=2)
    assert files("runs") == []


def test_all_knows_the_size_of_the_input(shapes):
    vit = load_vit(shapes[1])
    assert "salient_attention" in choose_methods([parse_spec("all")], vit, (64, 64))[0]
    assert "salient_attention" in choose_methods([parse_spec("all")], vit, (8, 8))[1]


def test_options_typed_beside_all_replace_its_own(shapes):
    vit = load_vit(shapes[1])
    chosen, _ = choose_methods(
        [parse_spec("rise:masks=2"), parse_spec("all"), parse_spec("rollout")], vit, (32, 32)
    )
    assert [name for name in chosen if name.startswith("rise")] == ["rise:masks=2"]
    assert "rollout" in chosen


def test_all_without_some(shapes):
    vit = load_vit(shapes[1])
    every, _ = choose_methods([parse_spec("all")], vit, (64, 64))
    chosen, left_out = choose_methods(
        [parse_spec("all"), parse_spec("random")], vit, (64, 64), ["rise", "random"]
    )
    assert list(chosen) == [*(name for name in every if name not in ("rise", "random")), "random"]
    assert not left_out
    with pytest.raises(ValueError, match=r"--without .* leaves no method"):
        choose_methods([parse_spec("all")], vit, (64, 64), list(METHODS))


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.Mine", "there is no such class in the current folder"),
        ("pathlib.Path", "is not a class of salvit.extractors.Extractor"),
        ("salvit.extractors.Extractor", "is not a class of salvit.extractors.Extractor that can be made"),
        ("methods_of_mine.Mine", "problem in methods_of_mine"),
    ],
)
def test_what_is_no_method(image, shapes, mine, capsys, name, said):
    mine("import torch\n1 / 0\n")
    assert said in failure(capsys, image, "--method", name, *shapes, status=2)
