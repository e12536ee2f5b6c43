"""Image files of folders, also of those that cannot be read."""

import os
from pathlib import Path

import pytest

from datamodules import ImageFolderDataModule
from datamodules.base import CorruptFileError, DatasetNotFoundError, list_images, read_image, unique_names


@pytest.fixture
def folder(tmp_path):
    visible = ("i10.jpg", "i2.PNG", "notes.txt", "sub/i1.jpg", "x.jpg/i4.jpg")
    for name in (*visible, ".hidden.jpg", ".cache/i3.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_visible_images_in_natural_order_and_links_also_to_nothing(folder):
    assert names(list_images(folder, recursive=True), folder) == [
        "i2.PNG", "i10.jpg", "sub/i1.jpg", "x.jpg/i4.jpg",
    ]  # fmt: skip
    (folder / "link.jpg").symlink_to("sub/i1.jpg")
    (folder / "lost.jpg").symlink_to("nowhere.jpg")
    assert names(list_images(folder), folder) == ["i2.PNG", "i10.jpg", "link.jpg", "lost.jpg"]
    assert list_images(folder / "nowhere") == list_images(folder / "notes.txt") == []


def test_linked_folders_are_looked_into_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.jpg").touch()
    (elsewhere / "back").symlink_to(folder)
    (folder / "one").symlink_to(elsewhere)
    (folder / "two").symlink_to(elsewhere)
    (folder / "sub/up").symlink_to("..")
    assert [path.name for path in list_images(folder, recursive=True)] == [
        "i2.PNG", "i10.jpg", "far.jpg", "i1.jpg", "i4.jpg",
    ]  # fmt: skip


def test_links_to_themselves_are_images_that_cannot_be_read_and_no_folders(folder):
    for name in ("loop.jpg", "loop"):
        (folder / name).symlink_to(name)
    found = list_images(folder, recursive=True)
    assert [path.name for path in found if "loop" in path.name] == ["loop.jpg"]
    with pytest.raises(CorruptFileError, match=r"^.*loop\.jpg: cannot read the image .*symbolic links"):
        read_image(folder / "loop.jpg")
    assert list_images(folder / "loop") == []
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        ImageFolderDataModule(folder / "loop").setup("predict")


def test_names_are_text_also_where_those_of_files_are_not():
    paths = [Path(os.fsdecode(name)) for name in (b"Gr\xf6\xdfe.jpg", b"Gr\xf6\xdfe.png", b"a/\xe4.jpg")]
    assert unique_names(paths) == ["Gr??e_jpg", "Gr??e_png", "a__?"]
    with pytest.raises(ValueError, match="rename all but one"):
        unique_names([Path(os.fsdecode(name)) for name in (b"\xf6.jpg", b"\xe4.jpg")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("closed", ["", "sub"])
def test_a_folder_that_cannot_be_read_is_an_error(folder, closed):
    (folder / closed).chmod(0)
    try:
        with pytest.raises(PermissionError, match=str(folder / closed)):
            list_images(folder, recursive=True)
    finally:
        (folder / closed).chmod(0o700)
