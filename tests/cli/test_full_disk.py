"""What a full disk does not take ends in one sentence that names the file; results stay, and a rerun completes them."""

import csv
import hashlib
import logging
from pathlib import Path

import pytest
import torch

from salvit.__main__ import main
from salvit.cli.run_log import RunLog
from salvit.cli.survival import WholeCheckpoints
from tests.datamodules.data.images import write_image
from tests.results.test_files import files_no_longer_than

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended")


def rows(log):
    with Path(log.log_dir, "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_log_has_whole_rows_only(tmp_path):
    log = RunLog(tmp_path, "a", 0)
    for step in range(20):
        log.log_metrics({"loss": 0.5}, step)
    size = Path(log.log_dir, "metrics.csv").stat().st_size
    for metrics in ({"loss": 0.123456}, {"score": 1.0}):
        with (
            pytest.raises(OSError, match=r"^cannot write .*metrics\.csv: File too large$"),
            files_no_longer_than(size + 3),
        ):
            log.log_metrics(metrics, 20)
        assert rows(log) == [{"loss": "0.5", "step": str(step)} for step in range(20)]
    with (
        pytest.raises(OSError, match=r"^cannot write .*hparams\.yaml: File too large$"),
        files_no_longer_than(3),
    ):
        log.log_hyperparams({"lr": list(range(99))})
    log.log_metrics({"score": 1.0}, 21)
    assert rows(log)[-1] == {"loss": "", "score": "1.0", "step": "21"}
    assert len(rows(log)) == 21


def test_a_checkpoint_is_the_new_or_the_old_one(tmp_path):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(3)}, path)
    with pytest.raises(OSError, match=f"^cannot write {path}: File too large$"), files_no_longer_than(50_000):
        WholeCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True)["weights"].shape == (3,)
    assert list(tmp_path.iterdir()) == [path]


def everything():
    """By path, the hash of every file of results; a later command adds to the index and the cache."""
    added = ("explain.csv", "explain.json")
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path("runs").rglob("*")
        if path.is_file() and path.name not in added and path.suffix != ".jsonl"
    }


def status(command, *arguments):
    try:
        command(list(arguments))
    except SystemExit as end:
        return end.code
    return 0


FEW = ("--trainer.max_epochs", "2", "--trainer.num_sanity_val_steps", "0", "--trainer.log_every_n_steps", "1")
QUIET = (
    "--trainer.accelerator",
    "cpu",
    "--trainer.devices",
    "1",
    "--wandb",
    "false",
    "--data.num_workers",
    "0",
)
FOLDER = ("--untrained", "true", "--data.root", "images", "--data.image_size", "32")
POPOUT = ("--data.image_size", "32", "--data.batch_size", "4", "--data.test_size", "8")
TRAIN = ("--data", "PopOutDataModule", "--data.train_size", "8", "--data.val_size", "2")
CALLBACK = ("--trainer.callbacks", "salvit.callbacks.scores.Scores")
MODEL = ("--model", "SaliencyModule", "--model.vit")
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "test", "methods", "predict", "submission", "explain", "report"])
def test_every_command(command, tmp_path, monkeypatch, vit_file, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # pytest collects the log in a file, too
    for index in range(3):
        write_image(Path(f"images/{index}.png"), (60, 80), index)
    vit = vit_file()
    test = ("test", *MODEL, vit, *TRAIN, *POPOUT, *QUIET, "--untrained", "true", *CALLBACK)
    writer = ("--trainer.callbacks", "salvit.callbacks.submission.SubmissionWriter")
    methods = ("--model.extractors", "[rollout, agcam]")
    arguments = {
        "fit": ("fit", *MODEL, vit, *TRAIN, *POPOUT, *QUIET, *FEW),
        "test": test,
        "methods": (
            "test",
            "--config",
            f"{EXPERIMENTS}/agcam/popout.yaml",
            "--model.vit",
            vit,
            *methods,
            *POPOUT,
            *QUIET,
        ),
        "predict": ("predict", "--config", f"{EXPERIMENTS}/predict.yaml", *MODEL, vit, *FOLDER, *QUIET),
        "submission": ("predict", "--data", "ImageFolderDataModule", *MODEL, vit, *FOLDER, *QUIET, *writer),
        "explain": ("explain", "images", "--method", "rollout", "agcam", "--model", vit),
        "report": ("report", "runs"),
    }[command]
    if command == "report":
        main(list(test))
    named = set()
    for limit in (10, 700, 2000, 4000, 8000, 16_000, 32_000):
        before = everything()
        capsys.readouterr()
        with files_no_longer_than(limit):
            ended = status(main, *arguments)
        said, after = capsys.readouterr().err, everything()
        assert "Traceback" not in said
        if ended:
            assert ended in (1, 2)
            [line] = [line for line in said.splitlines() if line.startswith("salvit: error: ")]
            named.add(line.partition("cannot write ")[2].partition(": ")[0])
        assert not [path for path in after if ".part-" in path.name]
        assert before.keys() <= after.keys()
        assert command == "report" or all(after[path] == digest for path, digest in before.items())
    assert {Path(name).parts[0] for name in named} <= {"runs", *tmp_path.parts[:1]}, named
    print(sorted(named))
    assert len(named) > 1, named
    assert status(main, *arguments) == 0
