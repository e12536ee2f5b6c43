"""`salvit doctor`: what it says, and its exit status."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

import salvit.__main__ as entry
from salvit.cli import checks
from salvit.cli.data_checks import _OPTIONS, _PUBLISHED, dataset_kinds
from tests.datamodules.data.images import write_image
from tests.datamodules.data.mit import make_mit300
from tests.datamodules.data.osie import make_osie
from tests.datamodules.data.salicon import make_salicon, make_salicon_2015
from tests.datamodules.test_every_dataset import MAKERS

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def doctor(*arguments, status=0):
    """Run it, and check its exit status."""
    try:
        entry.main(["doctor", *map(str, arguments)])
        found = 0
    except SystemExit as exit_:
        found = exit_.code
    assert found == status


def test_all_is_well(capsys):
    doctor()
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    subjects = [line.split()[1] for line in lines]
    assert {"versions", "CPU", "W&B", "data", "weights", "runs", "temporary"} <= set(subjects)
    assert f"torch {torch.__version__.partition('+')[0]}" in lines[0]
    assert "salvit_tiny" in "\n".join(lines)
    assert not Path("runs").exists()


def test_help_and_wrong_command_lines(capsys):
    doctor("--help")
    assert "salvit doctor --root OSIE=" in capsys.readouterr().out
    doctor("--root", "OSIE", status=2)
    assert "expected NAME=FOLDER" in capsys.readouterr().err
    doctor("--root", "OSEI=x", status=2)
    assert "no such dataset; there are CAT2000" in capsys.readouterr().err


def test_a_variable_that_is_misspelt(monkeypatch, capsys):
    monkeypatch.setenv("SALVIT_OSEI_ROOT", "x")
    doctor(status=1)
    assert "WRONG  data" in capsys.readouterr().out


def test_every_dataset_on_disk_is_known():
    assert set(dataset_kinds()) == {name.removesuffix("DataModule") for name in MAKERS}
    assert set(_PUBLISHED) | set(_OPTIONS) <= set(dataset_kinds())


def test_a_dataset_that_is_complete(tmp_path, monkeypatch, capsys):
    for number in range(1, 301):
        write_image(tmp_path / f"mit/BenchmarkIMAGES/i{number}.jpg", (8, 8), 0)
    monkeypatch.setenv("SALVIT_MIT300_ROOT", str(tmp_path / "mit"))
    doctor()
    assert f"ok     MIT300       300 predict images in {tmp_path / 'mit'}\n" in capsys.readouterr().out


def test_a_dataset_of_which_a_part_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SALVIT_MIT300_ROOT", str(make_mit300(tmp_path / "mit")))
    doctor(status=1)
    assert "but 300 predict are published: is a part not unpacked?" in capsys.readouterr().out


def test_a_file_that_is_missing_is_named_with_the_layout(tmp_path, capsys):
    root = make_osie(tmp_path / "osie")
    next(root.glob("data/stimuli/*.jpg")).unlink()
    doctor("--root", f"osie={root}", status=1)
    printed = capsys.readouterr().out
    assert "WRONG  OSIE" in printed
    assert "data/eye/fixations.mat" in printed
    assert "https://github.com/NUS-VIP" in printed


def test_a_first_image_that_cannot_be_read_is_named(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_text("version https://git-lfs.github.com/spec/v1")
    doctor("--root", f"ImageFolder={tmp_path / 'images'}", status=1)
    assert "a.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("make", [make_salicon, make_salicon_2015])
def test_both_releases_of_salicon(make, tmp_path, capsys):
    doctor("--root", f"Salicon={make(tmp_path / 'salicon', train=3, val=2)}")
    assert "ok     Salicon      3 train, 2 val" in capsys.readouterr().out


def test_a_package_that_is_too_old(monkeypatch, capsys):
    monkeypatch.setattr(checks, "_version", lambda name: {"timm": "0.9.2", "pot": None}.get(name, "99.0"))
    doctor(status=1)
    printed = capsys.readouterr().out
    assert 'WRONG  timm         version 0.9.2, salvit needs >=1.0.26: pip install -U "timm' in printed
    assert "without pot: the extra [emd] is not installed" in printed


def test_no_room(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 10**12, 10**8))
    doctor("--runs", tmp_path / "not/yet", status=1)
    assert f"WRONG  runs         0.1 GB free in {tmp_path}, and at least 1 GB" in capsys.readouterr().out


def test_a_folder_that_is_a_file(capsys, tmp_path):
    (tmp_path / "file").touch()
    doctor("--runs", tmp_path / "file/runs", status=1)
    assert "name another folder" in capsys.readouterr().out


def test_cached_weights_are_named(monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(10**7))
    files = {"vit_base_patch16_224.dino": str(tmp_path / "model.safetensors")}
    monkeypatch.setattr(checks, "cached_weights", files.get)
    _, cached = checks.check_weights()
    assert cached == ("ok", "weights", "in the cache of timm's ViTs: vit_base_patch16_224.dino (0.01 GB)")


@pytest.mark.parametrize(("key", "answer"), [(None, "no login"), ("short", "API key must have 40")])
def test_wandb_without_a_login(monkeypatch, tmp_path, key, answer):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(checks, "_LOGIN_SECONDS", 300)  # a busy machine is no failure
    monkeypatch.setenv("HOME", str(tmp_path))
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    check = checks.check_wandb()
    assert check.state == "note"
    assert answer in check.text


def test_wandb_that_does_not_answer(monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(checks, "_LOGIN", "import time; time.sleep(60)")
    monkeypatch.setattr(checks, "_LOGIN_SECONDS", 0.2)
    assert "no answer within" in checks.check_wandb().text


def test_a_gpu_that_torch_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "this torch is built for CPUs" in list(checks.check_devices())[-1].text


def test_every_gpu_with_its_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (3 * 10**9, 8 * 10**9))
    _, *gpus = checks.check_devices()
    assert [gpu.text for gpu in gpus] == [f"cuda:{n} Card {n}, 3.0 of 8.0 GB free" for n in range(2)]
