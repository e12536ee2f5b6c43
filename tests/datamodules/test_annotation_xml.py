"""XML as people and tools write it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.base import CorruptFileError, read_objects
from tests.datamodules.data.xml import write_xml

CLASSES = {"cat": 0, "dog": 1}
EDGES = "".join(f"<{edge}>{{1}}</{edge}>" for edge in ("xmin", "ymin", "xmax", "ymax"))
OBJECT = f"<a><object><name>{{0}}</name><bndbox>{EDGES}</bndbox></object></a>"
BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'


def read(path, first=0):
    return read_objects(path, CLASSES, first)


def test_one_based_and_inclusive(tmp_path):
    path = write_xml(tmp_path / "a.xml", (40, 60), [("dog", (1, 1, 60, 40)), ("cat", (5.5, 2, 8.25, 9))])
    boxes, labels, size = read(path, first=1)
    assert boxes.tolist() == [[0, 0, 60, 40], [4.5, 1, 8.25, 9]]
    assert (labels.tolist(), size) == ([1, 0], (40, 60))
    assert read(path)[0].tolist() == [[1, 1, 60, 40], [5.5, 2, 8.25, 9]]


def test_other_elements_are_ignored_and_objects_and_size_may_be_missing(tmp_path):
    extra = "<difficult/><!-- a --><part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    path = write_xml(tmp_path / "a.xml", (0, 0), [("dog", (1, 2, 3, 4))], extra)
    boxes, _, size = read(path)
    assert (boxes.tolist(), size) == ([[1, 2, 3, 4]], None)
    path.write_text("<annotation/>")
    boxes, labels, size = read(path)
    assert (boxes.shape, labels.shape, size) == ((0, 4), (0,), None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot read the annotation"),
        ("<annotation><object>", "no element found"),
        (BOMB, "DTDForbidden"),
        ("<?xml version='1.0' encoding='nonsense'?><a/>", "cannot read the annotation"),
        (OBJECT.format("cow", 1), "unknown class 'cow'"),
        (OBJECT.format("cow", ""), "<object> has no <bndbox><xmin>"),
        ("<a><size><width>wide</width><height>3</height></size></a>", "could not convert"),
        ("<a><size><width>inf</width><height>3</height></size></a>", "infinity"),
    ],
)
def test_bad_files_are_named(tmp_path, text, problem):
    path = tmp_path / "a.xml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CorruptFileError, match=problem) as error:
        read(path)
    assert str(error.value).startswith(str(path))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_named_or_harmless(tmp_path, data):
    path = write_xml(tmp_path / "a.xml", (40, 60), [("dog", (1, 2, 3, 4))])
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    else:
        whole = whole[: data.draw(st.integers(0, len(whole) - 3))]
    path.write_bytes(whole)
    try:
        boxes, labels, _ = read(path)
    except CorruptFileError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 -- other damage is in what is not read
    else:
        assert len(boxes) == len(labels) <= 1
