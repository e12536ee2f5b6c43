"""Every command that the documents print is one that the program takes."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from salvit import __main__ as entry
from tests.test_demo import make

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("salvit", "make", "torchrun", "sbatch")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands():
    """Each command of a program above, once, and the page that prints it first."""
    found = {}
    for page in PAGES:
        for language, text in FENCE.findall(page.read_text()):
            for line in "" if language else text.replace("\\\n", " ").splitlines():
                line = " ".join(line.replace("[OPTIONS]", "").partition("  #")[0].split())
                if line.partition(" ")[0] in PROGRAMS:
                    found.setdefault(line, page.name)
    return [pytest.param(line, id=f"{page}: {line}") for line, page in found.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: the experiments, the files of docs/extending.md, and a checkpoint."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "experiments").symlink_to(ROOT / "experiments")
    page = (ROOT / "docs/extending.md").read_text()
    names = re.findall(r"^`(my_\w+\.py)`", page, re.MULTILINE)
    for name, (_, code) in zip(names, [f for f in FENCE.findall(page) if f[0] == "python"], strict=True):
        (folder / name).write_text(code)
    small = ["train_size=2", "val_size=1", "batch_size=1", "image_size=32", "num_workers=0"]
    short = [
        "--trainer.max_epochs",
        "1",
        "--trainer.callbacks",
        "[]",
        "--trainer.accelerator",
        "cpu",
        "--quiet",
    ]
    place = ["--runs", str(folder / "runs"), "--name", "osie"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        options = [f"--data.{option}" for option in small]
        entry.main(["fit", "--config", "salvit:demo.yaml", *options, *short, *place])
    (folder / "CHECKPOINT").symlink_to(folder / "runs/osie/version_0/checkpoints/last.ckpt")
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", commands())
def test_a_printed_command_is_understood(line, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    program, *words = shlex.split(line)
    if program == "make":
        make("--dry-run", "GPUS=0", "SALVIT_CAT2000_ROOT=CAT2000", *words)
        return
    if program == "sbatch":
        [script] = [word for word in words if word.endswith(".sh")]
        assert Path(script).is_file()
        words = words[words.index(script) + 1 :]
    if program == "torchrun":
        words = words[words.index("salvit") + 1 :]
    if words[0] == "sweep":
        entry.main([*words, "--dry_run"])
        words = shlex.split(capsys.readouterr().out.partition("\n")[0])[1:]
    understood(words, monkeypatch)
    if words[0] in ("fit", "validate", "test", "predict"):
        assert "seed_everything: " in capsys.readouterr().out


def understood(words, monkeypatch):
    """Read a command line as far as its options."""
    if words[0] not in entry.OWN_PARSER:
        with pytest.raises(SystemExit) as exit_:
            entry.main([*words, "--print_config"])
        assert exit_.value.code == 0
        return
    read = argparse.ArgumentParser.parse_args

    def read_and_stop(*arguments):
        read(*arguments)
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read_and_stop)
    with pytest.raises(UnderstoodError):
        entry.main(words)


class UnderstoodError(Exception):
    """The options of a command line are all right."""


def test_a_command_with_an_option_that_is_not_there_would_be_found(capsys):
    with pytest.raises(SystemExit) as exit_:
        entry.main(["fit", "--config", "salvit:demo.yaml", "--trainer.max_epoch", "3", "--print_config"])
    assert exit_.value.code == 2
    assert "max_epoch" in capsys.readouterr().err
