import time

import pytest

from datamodules.base import track


def test_a_quick_loop_shows_nothing(capsys):
    assert list(track(range(3), "checking", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_slow_loop_shows_its_count(capsys):
    for _ in track(range(3), "checking", 3, delay=0.05):
        time.sleep(0.15)
    shown = capsys.readouterr().err
    assert "checking" in shown
    assert "2/3" in shown


def test_an_error_inside_the_loop_ends_it():
    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError, match="0"):
        list(track(map(fail, range(3)), "checking", 3))
