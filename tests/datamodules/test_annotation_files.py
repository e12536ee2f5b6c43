"""Files that say where people looked, as wild as MATLAB and people make them."""

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
from datamodules.datasets.salicon import read_annotations, read_gaze
from tests.datamodules.data.osie import write_fixations
from tests.datamodules.data.salicon import SIZE, observers, write_gaze

wild = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
coordinates = st.one_of(
    *[
        hnp.arrays(dtype, st.tuples(st.integers(0, 5), st.just(2)))
        for dtype in (np.uint8, np.uint16, np.int32)
    ],
    hnp.arrays(np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.floats(-1e4, 1e4)),
    st.just(np.empty((0, 0))),
)


def joined(observers):
    return (
        np.concatenate([np.empty((0, 2))] + [np.asarray(p, np.float64).reshape(-1, 2) for p in observers]) - 1
    )


@wild
@given(st.lists(coordinates, max_size=4))
def test_gaze_is_zero_based_and_complete(tmp_path, recorded):
    path = write_gaze(tmp_path / "a.mat", recorded)
    points = read_gaze(path, SIZE)
    assert points.dtype == np.float64
    assert np.array_equal(points, joined(recorded))


@settings(deadline=None)
@given(
    st.one_of(
        coordinates,
        hnp.arrays(np.uint8, (2,)),
        st.sampled_from([np.empty(0), np.empty((0, 0)), np.empty((3, 0)), [], [[]], [1, 2], [[1, 2]]]),
    )
)
def test_points_of_any_shape_become_rows(values):
    points = as_points(values, Path("a.mat"))
    assert points.dtype == np.float64
    assert np.array_equal(points, np.asarray(values, np.float64).reshape(-1, 2))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (1, 2, 2)])
def test_odd_shapes_are_named(tmp_path, shape):
    path = write_gaze(tmp_path / "a.mat", [np.ones(shape)])
    with pytest.raises(CorruptFileError, match=r"a\.mat: expected fixations of shape n×2"):
        read_gaze(path, SIZE)


def test_words_are_no_fixations(tmp_path):
    path = write_gaze(tmp_path / "a.mat", [np.array(["left", "right"], dtype=object)])
    with pytest.raises(CorruptFileError, match=r"a\.mat"):
        read_gaze(path, SIZE)


def test_gaze_of_another_size_is_refused(tmp_path):
    path = write_gaze(tmp_path / "a.mat", observers(1))
    with pytest.raises(CorruptFileError, match=r"a\.mat: recorded at resolution \[48, 64\].*\[64, 48\]"):
        read_gaze(path, (64, 48))


@pytest.mark.parametrize(
    "contents", [{"image": "a"}, {"gaze": np.ones((2, 2))}, {"gaze": {"location": np.ones((2, 2))}}]
)
def test_mat_without_gaze_is_named(tmp_path, contents):
    savemat(tmp_path / "a.mat", contents)
    with pytest.raises(CorruptFileError, match=r"a\.mat: expected .*gaze"):
        read_gaze(tmp_path / "a.mat", SIZE)


@wild
@given(st.data())
def test_truncated_mat_is_named(tmp_path, data):
    path = write_gaze(tmp_path / "a.mat", observers(1))
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(CorruptFileError, match=r"a\.mat"):
        read_gaze(path, SIZE)


@wild
@given(st.data())
def test_damage_never_moves_a_fixation(tmp_path, data):
    path = write_gaze(tmp_path / "a.mat", observers(1))
    damaged = bytearray(path.read_bytes())
    position = data.draw(st.integers(len(damaged) // 2, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        points = read_gaze(path, SIZE)
    except CorruptFileError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 -- damage to a spare bit of the header is no error
    else:
        assert np.array_equal(points, joined(observers(1)))


@wild
@given(st.binary(max_size=300))
def test_garbage_is_named(tmp_path, garbage):
    path = tmp_path / "a"
    path.write_bytes(garbage)
    for read in (lambda: read_gaze(path, SIZE), lambda: read_osie(path), lambda: read_annotations(path)):
        with pytest.raises(CorruptFileError, match=str(path)):
            read()


subjects = hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(2)), elements=st.floats(-1e3, 1e3))


@wild
@given(st.lists(st.lists(subjects, min_size=1, max_size=3), min_size=1, max_size=3))
def test_osie_has_scalars_and_empties(tmp_path, images):
    recorded = {f"{1001 + index}.jpg": points for index, points in enumerate(images)}
    points = read_osie(write_fixations(tmp_path / "fixations.mat", recorded))
    assert list(points) == [name.removesuffix(".jpg") for name in recorded]
    for name, expected in recorded.items():
        found = points[name.removesuffix(".jpg")]
        assert len(found) == len(expected)
        assert all(np.array_equal(of_one, joined([one])) for of_one, one in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "contents",
    [
        np.ones((2, 2)),
        {"img": "1001.jpg"},
        {"img": 3.0, "subjects": {"fix_x": 1.0, "fix_y": 1.0}},
        {"img": "1001.jpg", "subjects": {"fix_x": [1.0, 2.0], "fix_y": [1.0]}},
        {"img": "1001.jpg", "subjects": {"fix_x": "left", "fix_y": "up"}},
    ],
)
def test_osie_of_another_form_is_named(tmp_path, contents):
    savemat(tmp_path / "fixations.mat", {"fixations": contents})
    with pytest.raises(CorruptFileError, match=r"fixations\.mat: .*fixations"):
        read_osie(tmp_path / "fixations.mat")


@pytest.mark.parametrize(
    "contents",
    [
        [],
        {"images": []},
        {"images": [{"id": 1, "file_name": 3}], "annotations": []},
        {"images": [], "annotations": [{"image_id": 1, "fixations": []}]},
        {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"image_id": 1, "fixations": [[1, 2], [3]]}],
        },
        {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"image_id": 1, "fixations": [[1, 2, 3]]}],
        },
    ],
)
def test_json_of_another_form_is_named(tmp_path, contents):
    path = tmp_path / "fixations.json"
    path.write_text(json.dumps(contents))
    with pytest.raises(CorruptFileError, match=r"fixations\.json: "):
        read_annotations(path)


def test_json_rows_and_columns(tmp_path):
    path = tmp_path / "fixations.json"
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}]
    annotations = [{"image_id": 7, "fixations": [[1, 5]]}, {"image_id": 7, "fixations": [[2, 6], [3, 7]]}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    points = read_annotations(path)
    assert points["a"].tolist() == [[4, 0], [5, 1], [6, 2]]
    assert points["b"].shape == (0, 2)
