"""A method is written in one way, wherever it is asked for."""

import re
import warnings
from importlib.metadata import EntryPoint

import pytest

from salvit.extractors import METHODS, RISE, RawAttention, Rollout, SalientAttention, base
from salvit.extractors.choice import left_out, supported_methods
from salvit.extractors.spelling import file_name, parse_method, spell


@pytest.mark.parametrize(
    ("text", "extractor"),
    [
        ("rollout", Rollout()),
        ("rollout: rows = all, per_head=true,start_layer=-1", Rollout(-1, per_head=True, rows="all")),
        ("raw_attention:block=[0,1],rows=all", RawAttention(block=[0, 1], rows="all")),
        ("salient_attention:tol=1e-05,rank=null", SalientAttention(tol=1e-5)),
    ],
)
def test_options_are_those_of_the_class(text, extractor):
    assert repr(parse_method(text)) == repr(extractor)
    assert repr(parse_method(spell(extractor))) == repr(extractor)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "rollout:rowz=all",
            'rollout has no option rowz; did you mean "rows"?; its options: start_layer, per_head, rows',
        ),
        ("legrad:rows=all", "legrad has no option rows; its options: none"),
        ("rollout:start_layer=1.5", "start_layer should be a whole number; got 1.5"),
        ("rise:probability=half", "probability should be a number; got half"),
        ("rollout:per_head=3", "per_head should be true or false; got 3"),
        ("salient_attention:rank=x", "rank should be a whole number or null; got x"),
        (
            "raw_attention:block=x",
            "block should be a whole number or a list such as [0,1] (a whole number each) or ",
        ),
        ("relevance_lrp:precision=half", "precision should be model or double; got half"),
        ("rise:masks=0", "masks, cells and batch_size must be at least 1; got 0, 7, 64"),
        ("attention_gradient:block=mean,per_head=true", "per_head needs a single block"),
    ],
)
def test_options_that_are_none_in_one_sentence(text, said):
    with pytest.raises(ValueError, match=rf"^{re.escape(f'{text}: {said}')}[^\n]*$"):
        parse_method(text)


@pytest.mark.parametrize("text", ["a:", "a:b=", "a:=1", "a:b=1,c"])
def test_another_form(text):
    with pytest.raises(ValueError, match=rf"^{text} should be NAME:OPTION=VALUE"):
        parse_method(text)


def test_an_option_twice():
    with pytest.raises(ValueError, match="rise:seed=1,seed=2 has the option seed twice"):
        parse_method("rise:seed=1,seed=2")
    with pytest.raises(ValueError, match="rise:seed=1 has the option seed twice"):
        parse_method("rise:seed=1", seed=2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("agcan", 'no method "agcan"; did you mean "agcam"?\nMethods: '),
        ("nowhere.Mine", "there is no such class in the current folder"),
        ("salvit.extractors.Extractor", "is no concrete subclass of salvit.extractors.Extractor"),
    ],
)
def test_what_is_no_method(name, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_method(name)


def test_default_options_and_another_order_are_the_same_method():
    typed = ("rollout:rows=all,start_layer=1", "rollout:start_layer=1,rows=all")
    assert {spell(parse_method(text)) for text in typed} == {"rollout:start_layer=1,rows=all"}
    assert spell(parse_method("rollout:rows=auto")) == "rollout"


def test_names_of_files_suit_every_system():
    assert file_name("rise:masks=2") == "rise,masks=2"
    odd = file_name("my.Method:path=a/b:c*?")
    assert not re.search(r'[<>:"/\\|?*]', odd)
    assert odd != file_name("my.Method:path=a,b,c,,")


def test_a_name_belongs_to_one_class():
    with pytest.raises(ValueError, match=r'the method name "rollout" belongs to salvit.extractors.rollout'):
        base.register_method("rollout")(RISE)
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        base.register_method("my:method")


def test_an_entry_point_is_a_method(monkeypatch):
    """All that another package has to do."""
    points = [
        EntryPoint("theirs", "tests.extractors.test_attention:ClassSpecific", base.GROUP),
        EntryPoint("broken", "nowhere_at_all:Method", base.GROUP),
    ]
    monkeypatch.setattr(base, "entry_points", lambda group: points if group == base.GROUP else [])
    monkeypatch.setattr(base, "METHODS", dict(METHODS))
    with pytest.warns(UserWarning, match='the method "broken" .* is left out: No module named'):
        base.register_entry_points()
    assert base.METHODS["theirs"].__name__ == "ClassSpecific"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(base, "entry_points", lambda group: points[:1])
        base.register_entry_points()


def test_what_a_model_does_not_support_is_said_once_for_each_reason(make_vit):
    supported, refused = supported_methods(make_vit(num_classes=0))
    [line] = left_out(refused, len(supported) + len(refused))
    assert line.startswith(f"left out {len(refused)} of {len(METHODS)} methods, ")
    assert ", tokentm and xrai: the method explains a class, and the model has no classifier head" in line
    assert set(refused) == {name for name, method in METHODS.items() if method.class_specific}


def test_a_block_that_is_not_there_is_no_matter_of_leaving_out(make_vit):
    with pytest.raises(IndexError, match=r"^rollout:start_layer=99: there is no block 99"):
        supported_methods(make_vit(), [Rollout(start_layer=99)])


def test_an_error_spells_the_method_as_it_is_typed(make_vit):
    extractor = parse_method("agcam:rows=class")
    with pytest.raises(ValueError, match=r"^agcam:rows=class follows the class token's row"):
        extractor.check(make_vit(global_pool="avg"))
