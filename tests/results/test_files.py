import os
import resource
import stat
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from salvit.results import read_csv
from salvit.results.atomic import append, atomic_write, output_path
from salvit.results.files import write


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


def test_what_a_full_disk_does_not_take_leaves_the_end_of_a_file_as_it_was(tmp_path):
    path = tmp_path / "new" / "a"
    append(path, b"one")
    with pytest.raises(OSError, match=f"^cannot write {path}: File too large"), files_no_longer_than(1000):
        append(path, b"0" * 2000)
    append(path, b" two")
    assert path.read_bytes() == b"one two"


NAMES = ["=1+1", "+a", "-a", "@a", "'=1", "''@", "'a", "-1.5", "+2", "-1e-05", "a=1", "", "<b>", 'a,"b']


@pytest.mark.parametrize("dtype", [object, "category"])
def test_no_name_is_a_formula_and_all_come_back(tmp_path, dtype):
    table = pd.DataFrame({"image": pd.Series(NAMES, dtype=dtype), "score": -0.5, "constant": True})
    write(tmp_path, {"a.csv": table})
    found = read_csv(tmp_path / "a.csv")
    assert found["image"].fillna("").tolist() == NAMES
    assert found["score"].tolist() == [-0.5] * len(NAMES)
    cells = pd.read_csv(tmp_path / "a.csv")["image"].fillna("").tolist()
    assert [cell for cell in cells if cell.startswith(tuple("=+-@"))] == ["-1.5", "+2", "-1e-05"]


def test_a_name_that_is_not_utf_8_or_has_control_characters_is_written(tmp_path):
    name = os.fsdecode(b"Gr\xf6\xdfe")
    write(tmp_path, {"control.csv": pd.DataFrame({"image": ["\r=1\n", "\tb"]})})
    assert read_csv(tmp_path / "control.csv")["image"].tolist() == ["?=1?", "?b"]
    write(tmp_path, {"a.csv": pd.DataFrame({"image": [name]}), "a.json": {"image": name}, "a.md": name})
    for file in ("a.csv", "a.json", "a.md"):
        assert "Gr??e" in (tmp_path / file).read_text(encoding="utf-8")
