"""A method and its options as typed."""

import pytest

from salvit.explain.parser import parse
from salvit.explain.spec import Spec, parse_spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("rollout", Spec("rollout")),
        ("rollout:rows=all", Spec("rollout", (("rows", "all"),))),
        ("a:b=1,c=x=y", Spec("a", (("b", "1"), ("c", "x=y")))),
        ("a:b=[0,1],c=[2],d=3", Spec("a", (("b", "[0,1]"), ("c", "[2]"), ("d", "3")))),
    ],
)
def test_what_is_typed_is_what_is_read_and_written(text, spec):
    assert parse_spec(text) == spec
    assert str(spec) == text


def test_spaces_do_not_matter():
    assert parse_spec("a: b = 1, c=2") == parse_spec("a:b=1,c=2")


@pytest.mark.parametrize("text", ["a:", "a:b", "a:b=", "a:=1", "a:b=1,", "a:b=1,c"])
def test_another_form(text):
    with pytest.raises(ValueError, match=rf"^{text} should be NAME:OPTION=VALUE"):
        parse_spec(text)


def test_an_option_twice():
    with pytest.raises(ValueError, match="a:b=1,b=2 has the option b twice"):
        parse_spec("a:b=1,b=2")


def test_methods_and_targets_add_up():
    options = parse(
        ["a.jpg", "--method", "agcam", "--target", "1", "--method", "rollout", "agcam", "--target", "x", "2"]
    )
    assert options.methods == (Spec("agcam"), Spec("rollout"))
    assert options.targets == ("1", "x", "2")
    assert parse(["a.jpg"]).methods == parse(["a.jpg"]).targets == ()
