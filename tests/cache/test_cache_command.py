"""`salvit cache`."""

import pytest
import torch

from salvit.__main__ import main
from salvit.cache.maps import StoredMaps
from salvit.cache.place import cache_folder
from salvit.extractors import RawAttention
from salvit.vit import load_vit, normalize


@pytest.fixture
def fill(vit_file, monkeypatch):
    def fill(count, code, title):
        monkeypatch.setattr("salvit.cache.maps.package_hash", lambda: code)
        vit, method = load_vit(vit_file()), RawAttention()

        def extract(images):
            return method(vit, normalize(vit, images))

        StoredMaps(vit, method, extract, cache_folder(), title)(torch.rand(count, 3, 32, 32))

    return fill


@pytest.fixture
def filled(fill):
    """Maps of two images by this code, and of three by an older one."""
    from salvit.results.source import package_hash

    fill(2, package_hash(), "new")
    fill(3, "0" * 64, "old")
    return cache_folder()


def test_list(filled, capsys):
    main(["cache", "list"])
    new, old, total = capsys.readouterr().out.splitlines()
    assert "2 images" in new
    assert new.endswith("new")
    assert "3 images" in old
    assert "prune removes it" in old
    assert total.startswith(f"{filled}: maps of 5 images (0.0 MB)")


def test_prune_removes_what_other_code_made(filled, capsys):
    main(["cache", "prune"])
    assert capsys.readouterr().out.startswith("removed maps of 3 images (0.0 MB); maps of 2 images")
    main(["cache", "list"])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()][:-1] == ["new"]
    assert len(list(filled.iterdir())) == 1


def test_prune_all(filled, capsys):
    main(["cache", "prune", "--all"])
    assert capsys.readouterr().out.startswith("removed maps of 5 images")
    assert not list(filled.iterdir())


def test_prune_leaves_what_salvit_did_not_write(filled, capsys):
    [folder, _] = sorted(filled.iterdir())
    (folder / "notes.txt").write_text("mine")
    (filled / "more").mkdir()
    (filled / "more" / f"{'0' * 64}.safetensors").write_text("mine")
    main(["cache", "prune", "--all"])
    left = sorted(path.relative_to(filled).as_posix() for path in filled.rglob("*") if path.is_file())
    assert left == sorted([f"{folder.name}/notes.txt", f"more/{'0' * 64}.safetensors"])


def test_prune_removes_what_nobody_can_read(filled, capsys):
    for about in filled.glob("*/about.json"):
        about.write_text("{")
    main(["cache", "prune"])
    assert capsys.readouterr().out.startswith("removed maps of 5 images")


def test_an_empty_cache(capsys, tmp_path):
    for action in ("list", "prune"):
        main(["cache", action, "--folder", str(tmp_path / "none")])
        assert "maps of 0 images" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["clear"], ["list", "--all"], ["prune", "--al"]])
def test_a_wrong_command_line(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(["cache", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("salvit: error: ")
