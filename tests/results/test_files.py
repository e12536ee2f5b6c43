import os
import resource
import stat
from contextlib import contextmanager

import numpy as np
import pytest

from salvit.results.atomic import atomic_write, output_path


def test_a_file_in_new_folders_with_the_longest_name_appears_complete_and_readable(tmp_path):
    path = tmp_path / "a" / "b" / ("c" * 251 + ".npy")
    umask = os.umask(0o027)
    try:
        with atomic_write(path) as file:
            file.write(b"whole")
            assert not path.exists()
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_errors_name_their_file(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match=r"^cannot write .*/a/b: "), atomic_write(tmp_path / "a" / "b") as file:
        file.write(b"")
    with pytest.raises(FileNotFoundError, match="missing"), atomic_write(tmp_path / "a") as file:
        file.write((tmp_path / "missing").read_bytes())


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


@contextmanager
def files_no_longer_than(size):
    """As on a full disk, writing fails where the file would grow longer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda file: file.write(b"0" * 100_000), "File too large$"),
        (lambda file: np.save(file, np.zeros(100_000)), "is the disk full"),
    ],
)
def test_a_full_disk_is_reported_with_the_files_name(tmp_path, write, said):
    path = tmp_path / "a.npy"
    path.write_bytes(b"old")
    with (
        pytest.raises(OSError, match=f"^cannot write {path}: .*{said}"),
        files_no_longer_than(1000),
        atomic_write(path) as file,
    ):
        write(file)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_name_leads_out_of_the_folder(tmp_path):
    for name in ("a/b", "..a", "a..b", "."):
        assert output_path(tmp_path, name, ".png") == tmp_path / f"{name}.png"
    for name in ("../a", "a/../../b", "/etc/a"):
        with pytest.raises(ValueError, match="would be written outside"):
            output_path(tmp_path, name, ".png")
