import os
import stat

import pytest

from salvit.files import atomic_write


def test_new_folders_and_contents(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic_write(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_the_latest_replaces_the_last(tmp_path):
    for content in (b"first", b"2nd"):
        with atomic_write(tmp_path / "a") as file:
            file.write(content)
    assert (tmp_path / "a").read_bytes() == b"2nd"


def write_half(path, error):
    with atomic_write(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_it(tmp_path):
    umask = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match="a"), atomic_write(tmp_path / "a" / "b") as file:
        file.write(b"")
