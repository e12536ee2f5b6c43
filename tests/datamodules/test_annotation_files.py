"""Files that say where people looked, with everything that MATLAB and people write into them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import savemat

from datamodules.base import CorruptFileError, as_points
from datamodules.datasets.osie import read_osie
from datamodules.datasets.salicon import read_annotations, read_observers
from tests.datamodules.data.osie import write_fixations
from tests.datamodules.data.salicon import SIZE, observers, write_gaze

wild = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
rows = st.tuples(st.integers(0, 5), st.just(2))
coordinates = st.one_of(
    *[hnp.arrays(dtype, rows) for dtype in (np.uint8, np.uint16, np.int32)],
    hnp.arrays(np.float64, rows, elements=st.floats(-1e4, 1e4)),
    st.just(np.empty((0, 0))),
)


def assert_zero_based(found, recorded):
    """Each observer's points, minus 1."""
    assert len(found) == len(recorded)
    for points, expected in zip(found, recorded, strict=True):
        assert points.dtype == np.float64
        assert np.array_equal(points, np.asarray(expected, np.float64).reshape(-1, 2) - 1)


@wild
@given(st.lists(coordinates, max_size=4))
def test_gaze_is_zero_based_and_complete(tmp_path, recorded):
    assert_zero_based(read_observers(write_gaze(tmp_path / "a.mat", recorded), SIZE), recorded)


@settings(deadline=None)
@given(
    st.one_of(
        hnp.arrays(np.uint8, (2,)),
        st.sampled_from([np.empty(0), np.empty((3, 0)), [], [[]], [1, 2], [[1, 2]]]),
    )
)
def test_points_of_any_shape_become_rows(values):
    assert_zero_based([as_points(values, Path("a.mat")) - 1], [values])


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        *((np.ones(shape), "expected fixations of shape n×2") for shape in ((3,), (4, 3), (1, 2, 2))),
        (np.array(["left", "right"], dtype=object), "fixations are no table of numbers"),
    ],
)
def test_what_are_no_points_is_named(tmp_path, points, problem):
    path = write_gaze(tmp_path / "a.mat", [points])
    with pytest.raises(CorruptFileError, match=rf"a\.mat: {problem}"):
        read_observers(path, SIZE)


def test_gaze_of_another_size_and_a_file_without_gaze_are_named(tmp_path):
    path = write_gaze(tmp_path / "a.mat", observers(1))
    with pytest.raises(CorruptFileError, match=r"a\.mat: recorded at resolution \[48, 64\].*\[64, 48\]"):
        read_observers(path, (64, 48))
    for contents in ({"image": "a"}, {"gaze": {"location": np.ones((2, 2))}}):
        savemat(path, contents)
        with pytest.raises(CorruptFileError, match=r"a\.mat: expected .*gaze"):
            read_observers(path, SIZE)


@wild
@given(st.data())
def test_damage_never_moves_a_fixation(tmp_path, data):
    path = write_gaze(tmp_path / "a.mat", observers(1))
    damaged = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged) - 1))]
    else:
        position = data.draw(st.integers(len(damaged) // 2, len(damaged) - 1))
        damaged[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        found = read_observers(path, SIZE)
    except CorruptFileError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 -- damage to a spare bit of the header is no error
    else:
        assert_zero_based(found, observers(1))


@wild
@given(st.binary(max_size=300))
def test_garbage_is_named(tmp_path, garbage):
    path = tmp_path / "a"
    path.write_bytes(garbage)
    for read in (lambda: read_observers(path, SIZE), lambda: read_osie(path), lambda: read_annotations(path)):
        with pytest.raises(CorruptFileError, match=str(path)):
            read()


subjects = hnp.arrays(np.float64, rows, elements=st.floats(-1e3, 1e3))


@wild
@given(st.lists(st.lists(subjects, min_size=1, max_size=3), min_size=1, max_size=3))
def test_osie_has_scalars_and_empties(tmp_path, images):
    recorded = {f"{1001 + index}": points for index, points in enumerate(images)}
    path = tmp_path / "fixations.mat"
    found = read_osie(write_fixations(path, {f"{stem}.jpg": recorded[stem] for stem in recorded}))
    assert list(found) == list(recorded)
    for stem, points in found.items():
        assert_zero_based(points, recorded[stem])


@pytest.mark.parametrize(
    "contents",
    [
        np.ones((2, 2)),
        {"img": "1001.jpg"},
        {"img": "1001.jpg", "subjects": {"fix_x": [1.0, 2.0], "fix_y": [1.0]}},
        {"img": "1001.jpg", "subjects": {"fix_x": "left", "fix_y": "up"}},
    ],
)
def test_osie_of_another_form_is_named(tmp_path, contents):
    savemat(tmp_path / "fixations.mat", {"fixations": contents})
    with pytest.raises(CorruptFileError, match=r"fixations\.mat: .*fixations"):
        read_osie(tmp_path / "fixations.mat")


A = {"id": 1, "file_name": "a.jpg"}


def write_json(folder, contents):
    path = folder / "fixations.json"
    path.write_text(json.dumps(contents))
    return path


@pytest.mark.parametrize(
    "contents",
    [
        [],
        {"images": []},
        {"images": [], "annotations": [{"image_id": 1, "fixations": []}]},
        {"images": [A], "annotations": [{"image_id": 1, "fixations": [[1, 2], [3]]}]},
        {"images": [A], "annotations": [{"image_id": 1, "fixations": [[1, 2, 3]]}]},
    ],
)
def test_json_of_another_form_is_named(tmp_path, contents):
    with pytest.raises(CorruptFileError, match=r"fixations\.json: "):
        read_annotations(write_json(tmp_path, contents))


def test_json_rows_and_columns(tmp_path):
    images = [A, {"id": 8, "file_name": "b.jpg"}]
    annotations = [{"image_id": 1, "fixations": [[1, 5]]}, {"image_id": 1, "fixations": [[2, 6], [3, 7]]}]
    points = read_annotations(write_json(tmp_path, {"images": images, "annotations": annotations}))
    assert points["a"].tolist() == [[4, 0], [5, 1], [6, 2]]
    assert points["b"].shape == (0, 2)
