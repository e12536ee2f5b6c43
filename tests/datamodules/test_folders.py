"""Image files of folders, also of those that cannot be read."""

import os

import pytest

from datamodules.base import list_images


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("closed", ["", "sub"])
def test_a_folder_that_cannot_be_read_is_an_error(folder, closed):
    (folder / closed).chmod(0)
    try:
        with pytest.raises(PermissionError, match=str(folder / closed)):
            list_images(folder, recursive=True)
    finally:
        (folder / closed).chmod(0o700)
