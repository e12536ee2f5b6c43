"""The command line as people use it; in this process, except where what matters is the process."""

import csv
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from functools import partial
from importlib.metadata import entry_points
from inspect import isabstract
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

import datamodules
import salvit
from salvit import __main__ as entry
from salvit.callbacks.defaults import FreedMemory
from salvit.cli import usage
from salvit.cli.command import run
from salvit.cli.quiet import is_quiet
from salvit.cli.sweep import commands, read_sweep
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.cub import make_cub
from tests.datamodules.data.imagenet import make_imagenet
from tests.datamodules.data.images import write_image
from tests.datamodules.data.mit import make_mit300, make_mit1003
from tests.datamodules.data.osie import make_osie
from tests.datamodules.data.p3o3 import make_p3o3
from tests.datamodules.data.salicon import make_salicon, make_salicon_2015, stem
from tests.datamodules.data.tiny_imagenet import make_tiny_imagenet
from tests.datamodules.data.voc import make_voc

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "tests/conf"
SWEEPS = ROOT / "experiments/sweeps"  # of W&B, no configurations
TABLES = (ROOT / "experiments/tables").rglob("*.yaml")  # parts of rows, in tests/test_tables.py
CONFIGS = sorted(
    {*(ROOT / "experiments").rglob("*.yaml"), *CONF.glob("*.yaml")} - {*SWEEPS.glob("*.yaml"), *TABLES}
)
DATA = ("--data.image_size", "32", "--data.num_workers", "0")
POPOUT = ("--data", "PopOutDataModule", "--data.batch_size", "2", *DATA)
FEW = ("--data.train_size", "4", "--data.val_size", "3", "--data.test_size", "3")
QUIET = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false")
SHORT = ("--trainer.max_epochs", "1", "--model.warmup_epochs", "0", "--trainer.enable_model_summary", "false")
CSV = ("--trainer.logger", "false")
SCORES = ("--trainer.callbacks", "salvit.callbacks.scores.Scores")
WRITER = ("--trainer.callbacks", "salvit.callbacks.predictions.PredictionWriter")

MAKERS = {
    "CAT2000DataModule": make_cat2000,
    "MIT300DataModule": make_mit300,
    "MIT1003DataModule": make_mit1003,
    "OSIEDataModule": make_osie,
    "P3O3DataModule": make_p3o3,
    "TinyImageNetDataModule": make_tiny_imagenet,
    "VOC2012DataModule": make_voc,
    "CUB200DataModule": make_cub,
    "ImageNetValDataModule": make_imagenet,
}
CLASSES = ("train/cat/0.jpg", "train/cat/1.jpg", "train/dog/0.jpg", "val/cat/0.jpg", "val/dog/0.jpg")
IMAGES = {"ImageFolderDataModule": ("a.jpg", "b/c.png"), "ClassFolderDataModule": CLASSES}
SALIENT = ("--model.extractor", "SalientAttention")
UNTRAINED = ("--untrained", "true")

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def saliency(vit_file):
    return ("--model", "SaliencyModule", "--model.vit", vit_file())


def logged_arguments(*more):
    return (*POPOUT, *FEW, *QUIET, *SHORT, *more)


def popout_arguments(*more):
    return logged_arguments(*CSV, *more)


def salicon_arguments(root, *more):
    data = ("--data", "SaliconDataModule", "--data.root", root, "--data.batch_size", "2", *DATA)
    return (*data, *QUIET, *SHORT, *CSV, *more)


def call(*arguments):
    return run([str(argument) for argument in arguments])


def failure(capsys, *arguments, status=2):
    """The error that a command line ends with: one message, no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        call(*arguments)
    error = capsys.readouterr().err
    assert exit_.value.code == status
    assert error.count("salvit: error: ") == 1
    assert "Traceback" not in error
    message = error.partition("salvit: error: ")[2]
    assert len(message.splitlines()) < 12
    return message


def in_a_process(*arguments, **options):
    command = [sys.executable, *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, **options
    )


# Starting


@pytest.mark.parametrize("command", [[], ["explain"], ["doctor"]])
def test_help_is_instant_and_imports_nothing_heavy(command):
    run_ = f"import sys, salvit.__main__ as m\ntry: m.main({[*command, '--help']})\nfinally: print(sorted(sys.modules))"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = in_a_process("-c", run_)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert done.stdout.startswith(" ".join(["usage: salvit", *command]))
    loaded = done.stdout.rpartition("\n[")[2]
    assert not [
        name for name in ("torch", "lightning", "timm", "numpy", "wandb", "PIL") if f"'{name}'" in loaded
    ]
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command_and_experiments_that_exist(arguments, capsys):
    entry.main(arguments)
    printed = capsys.readouterr().out
    assert all(f"  {command} " in printed for command in usage.COMMANDS)
    named = re.findall(r"salvit:([\w/]+\.yaml)", printed)
    assert named
    assert all((ROOT / "experiments" / name).is_file() for name in named)


@pytest.mark.parametrize(("typed", "hint"), [("explian", "; did you mean explain?"), ("frobnicate", "")])
def test_an_unknown_command(typed, hint, capsys):
    with pytest.raises(SystemExit) as exit_:
        entry.main([typed])
    assert exit_.value.code == 2
    first, commands, _ = capsys.readouterr().err.splitlines()
    assert first == f"salvit: error: no command '{typed}'{hint}"
    assert commands == f"commands: {', '.join(usage.COMMANDS)}"


@pytest.mark.parametrize("name", ["salvit", "lightning"])
def test_console_scripts(name):
    points = entry_points(group="console_scripts", name=name)
    assert [point.load() for point in points if "salvit" in point.value] == [entry.main]


def test_arguments_come_from_the_command_line(monkeypatch):
    seen = []
    monkeypatch.setattr("salvit.cli.command.run", seen.append)
    monkeypatch.setattr(sys, "argv", ["salvit", "fit", "-q"])
    entry.main()
    assert is_quiet()
    entry.main(["test"])
    assert not is_quiet()
    entry.main(["test", "--help_all"])
    assert seen == [["fit"], ["test"], ["test", "--help"]]


def test_options_of_a_command_and_of_a_class(capsys):
    with pytest.raises(SystemExit) as exit_:
        call("fit", "--help")
    assert exit_.value.code == 0
    every = capsys.readouterr().out
    assert "--trainer.max_epochs" in every
    entry.main(["fit", "--help"])
    short = capsys.readouterr().out
    assert short.index("--model") < short.index("--trainer")
    named = set(re.findall(r"^  (--[a-z_]+)", short, re.MULTILINE))
    assert {"--model", "--data", "--name", "--runs", "--wandb", "--ckpt_path"} <= named
    assert all(option in every for option in named - {"--help_all"})
    classes = (getattr(datamodules, name) for name in datamodules.__all__ if name.endswith("DataModule"))
    assert [one.__name__ for one in classes if not isabstract(one) and one.__name__ not in short] == []
    with pytest.raises(SystemExit):
        call("fit", "--model.help", "SaliencyModule")
    assert "--model.extractor" in capsys.readouterr().out


# Every datamodule, every module, every experiment


@pytest.fixture
def roots(tmp_path):
    """Makes the data that a datamodule reads; None for one that generates its own."""

    def root(datamodule, release="2017"):
        folder = tmp_path / "data"
        if datamodule == "SaliconDataModule":
            make = make_salicon if release == "2017" else make_salicon_2015
            return make(folder, train=3, val=2)
        if datamodule in MAKERS:
            return MAKERS[datamodule](folder)
        for name in IMAGES.get(datamodule, ()):
            write_image(folder / name, (20, 30), 0)
        assert datamodule in (*IMAGES, "PopOutDataModule"), f"make data for {datamodule} here"
        return folder if datamodule in IMAGES else None

    return root


def stages(config):
    data = config["data"]["class_path"].rpartition(".")[2]
    if data in ("ImageFolderDataModule", "MIT300DataModule", "P3O3DataModule"):
        return ["predict"]
    if config.get("model", {}).get("class_path") == "salvit.modules.ExplanationModule":
        return ["test"]
    return [*([] if data == "ImageNetValDataModule" else ["fit"]), "validate", "test"]


HEADS = {"vit_base_voc.safetensors": 20, "vit_base_cub.safetensors": 2}  # of the datasets that the tests make


def small_backbone(options, vit_file):
    """Options that put a small ViT with random weights in the place of one that would have to be fetched or trained."""
    name = options.get("vit", "salvit_tiny")
    if str(name).startswith("${runs}/"):
        return ["--model.vit", vit_file(num_classes=HEADS[Path(name).name]), "--data.image_size", "32"]
    if isinstance(name, dict) or name == "salvit_tiny":
        return []
    assert name in timm.list_pretrained()
    small = ["--model.vit", "vit_tiny_patch16_224", "--model.pretrained", "false"]
    small += ["--data.image_size", "[32,48]"]
    return small + ["--model.extractor", "salient_attention:k=2"] * (
        "salient" in str(options.get("extractor"))
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_config(path, roots, vit_file, request):
    config = yaml.safe_load(path.read_text())
    configs = ["--config", path]
    if "data" not in config:  # an overlay
        base = path.with_name("base.yaml")
        configs = ["--config", base if base.exists() else ROOT / "experiments/demo.yaml", *configs]
        config["data"] = {"class_path": "datamodules.PopOutDataModule"}
    data = config["data"]
    root = roots(data["class_path"].rpartition(".")[2], data.get("init_args", {}).get("release", "2017"))
    options = ["--trainer.fast_dev_run", "true", "--data.num_workers", "0", *QUIET]
    options += ["--data.root", root] if root else FEW
    options += small_backbone(config.get("model", {}).get("init_args", {}), vit_file)
    for stage in stages(config):
        weights = UNTRAINED if stage != "fit" else ()
        if stage == "predict":
            weights = ("--ckpt_path", request.getfixturevalue("checkpoint"))  # which names the model
        cli = call(stage, *configs, *options, *weights)
        logged = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
        if "agcam" not in path.parts:  # there misclassified images have no scores
            assert all(np.isfinite(value) or "AUC" in name for name, value in logged.items()), logged
    assert Path("backbone.safetensors").is_file() == (path.stem == "classification")


def agents_line(sweep, **drawn):
    """The command line that an agent of W&B builds for a row."""
    agent = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    args = {name.replace("__", "."): {"value": value} for name, value in drawn.items()}
    macros = {**agent.create_sweep_command_args({"args": args}), "env": ["/usr/bin/env"]}
    parts = agent.create_sweep_command(sweep["command"])
    return [word for part in parts for word in (macros[part[2:-1]] if part.startswith("${") else [part])]


def test_the_sweep_of_the_poster():
    """Each command line that W&B's agent builds fits the row and the seed it names."""
    sweep = yaml.safe_load((SWEEPS / "poster.yaml").read_text())
    values = sweep["parameters"]["config"]["values"]
    rows = [path for path in (ROOT / "experiments/poster").glob("*.yaml") if path.stem != "base"]
    assert sorted(values) == sorted(f"salvit:poster/{path.name}" for path in rows)
    line = agents_line(sweep, config=values[-1], seed_everything=2)
    assert line[:3] == ["/usr/bin/env", "salvit", "fit"]
    assert line[-2:] == [f"--config={values[-1]}", "--seed_everything=2"]
    assert "--data=TinyImageNetDataModule" in line
    cli = call(*line[2:], *POPOUT, *FEW, *QUIET, "--trainer.fast_dev_run", "true")
    assert cli.config["fit"]["name"] == f"poster/{Path(values[-1]).stem}/seed2"
    assert cli.config["fit"]["wandb"] is True


def test_the_sweep_of_k():
    """The rows of Table 3; W&B's agent and `salvit sweep` build the same command lines."""
    sweep = read_sweep("salvit:sweeps/k.yaml")
    values = sweep["parameters"]["model.extractor"]["values"]
    assert values == [f"salient_attention:k={k}" for k in (16, 32, 64, 128, 256)]
    config = sweep["parameters"]["config"]["value"]
    lines = [agents_line(sweep, config=config, model__extractor=value)[2:] for value in values]
    assert list(commands(sweep, []))[::2] == lines
    options = (*FEW, *QUIET, *DATA, "--trainer.fast_dev_run", "true")
    cli = call(*lines[0], *options)
    assert cli.config["fit"]["name"] == "sweep-k/salient_attention,k=16"
    assert cli.config["fit"]["wandb"] is True
    assert cli.model.model_name == "salvit_tiny · salient_attention:k=16"
    assert cli.model.cache is not None


def test_a_detector_that_is_missing(capsys, tmp_path):
    """Masks by a detector, written as experiments/poster/base.yaml says."""
    comment = (
        (ROOT / "experiments/poster/base.yaml").read_text().partition("ClassificationScores below gets\n")[2]
    )
    lines = [line.removeprefix("#   ") for line in comment.partition("\n#\n")[0].splitlines()]
    callback = {"class_path": "salvit.callbacks.classification_scores.ClassificationScores"}
    callback |= yaml.safe_load("\n".join(lines))
    (tmp_path / "detector.yaml").write_text(yaml.dump({"trainer": {"callbacks": [callback]}}))
    options = ("--config", CONF / "poster.yaml", "--config", tmp_path / "detector.yaml", *UNTRAINED)
    assert "no detector file FILE" in failure(capsys, "test", *options, *CSV, "--wandb", "false", status=1)


# The configuration


def test_the_configuration_is_saved_and_logged(saliency):
    options = ("--model.lr", "0.00321", "--model.extractor", "RawAttention")
    cli = call("fit", *saliency, *options, *popout_arguments())
    folder = Path("runs/default/version_0")
    assert Path(cli.trainer.log_dir).samefile(folder)
    assert any(isinstance(callback, FreedMemory) for callback in cli.trainer.callbacks)
    for name in ("config.yaml", "hparams.yaml"):
        content = yaml.safe_load((folder / name).read_text())
        assert content["model"]["class_path"] == "salvit.SaliencyModule"
        assert content["model"]["init_args"]["lr"] == 0.00321
        assert content["model"]["init_args"]["extractor"]["class_path"].startswith("salvit.extractors.")
        assert content["model"]["init_args"]["extractor"]["init_args"]["rows"] == "auto"
        assert content["data"]["init_args"]["test_size"] == 3
        assert content["trainer"]["max_epochs"] == 1
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"train/loss", "val/CC", "val/sAUC"} - set(rows[-1]) <= {"train/loss"}
    again = call("fit", "--config", folder / "config.yaml")
    other = call("fit", "--config", folder / "config.yaml", "--seed_everything", "1")
    first, second, third = (run.trainer.callback_metrics["val/CC"] for run in (cli, again, other))
    assert first == second != third


def test_interpolation_follows_later_overrides(saliency, tmp_path):
    (tmp_path / "a.yaml").write_text(
        "model:\n  class_path: salvit.modules.SaliencyModule\n"
        "  init_args: {lr: 0.01, weight_decay: '${model.init_args.lr}'}\n"
        "name: lr=${model.init_args.lr}\n"
    )
    arguments = ("--config", tmp_path / "a.yaml", "--model.vit", saliency[3], *popout_arguments())
    plain = call("fit", *arguments)
    assert plain.model.weight_decay == 0.01
    overridden = call("fit", *arguments, "--model.lr", "0.5", "--trainer.max_steps", "1")
    assert overridden.model.weight_decay == 0.5
    saved = yaml.safe_load(Path("runs/lr=0.5/version_0/hparams.yaml").read_text())
    assert saved["model"]["init_args"]["weight_decay"] == 0.5
    assert saved["name"] == "lr=0.5"


def test_another_extractor_over_that_of_a_file(roots):
    root = roots("SaliconDataModule")
    options = ("--config", CONF / "salicon2017.yaml", "--data.root", root, "--trainer.fast_dev_run", "true")
    cli = call("fit", *options, "--model.extractor", "SalientAttention", "--model.extractor.k", "3")
    assert repr(cli.model.extractor).startswith("SalientAttention(k=3, ")


def test_ctrl_c_during_heavy_imports():
    code = "import os, signal\nfrom salvit.cli.interrupt import importing\n"
    done = in_a_process("-c", f"{code}with importing(): os.kill(os.getpid(), signal.SIGINT)", cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "salvit: interrupted\n")


def test_only_training_multiplies_in_tf32(saliency):
    call("fit", *saliency, *popout_arguments())
    assert torch.get_float32_matmul_precision() == "high"
    call("test", *saliency, *popout_arguments(*UNTRAINED))
    assert torch.get_float32_matmul_precision() == "highest"


# Checkpoints


@pytest.fixture
def checkpoint(saliency):
    call("fit", *saliency, *popout_arguments())
    (path,) = Path("runs").rglob("*.ckpt")
    return path


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_checkpoint_that_is_none_or_runs_code(saliency, capsys, stage):
    def said(path):
        return failure(capsys, stage, *saliency, *popout_arguments("--ckpt_path", path))

    assert "no checkpoint http://127.0.0.1:9/a.ckpt" in said("http://127.0.0.1:9/a.ckpt")
    Path("a.ckpt").write_bytes(b"junk")
    assert "cannot read the checkpoint a.ckpt" in said("a.ckpt")
    torch.save({"state_dict": {}, "trap": Bomb()}, "a.ckpt")
    assert "Python objects" in said("a.ckpt")
    assert not Path("exploded").exists()


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def record_of(cli):
    return json.loads((Path(cli.trainer.log_dir) / "run.json").read_text())


def test_last_is_the_newest_fit_of_the_experiment(checkpoint, saliency, monkeypatch):
    said = []
    monkeypatch.setattr("salvit.cli.checkpoint_option.rank_zero_info", said.append)
    call("fit", *saliency, *popout_arguments("--model.lr", "0.1"))
    call("fit", *saliency, *popout_arguments("--name", "other"))
    record = record_of(call("test", *saliency, *popout_arguments("--ckpt_path", "last")))
    newest = Path("runs/default/version_1/checkpoints/last.ckpt")
    [line] = said
    assert line.startswith(f"taking {newest}, fitted on 20")
    assert record["checkpoint"] == str(newest.resolve())
    assert record["checkpoint_sha256"] == hashlib.sha256(newest.read_bytes()).hexdigest()
    assert (record["name"], record["untrained"]) == ("default", False)
    assert record["model"] == f"{Path(saliency[3]).name} · raw_attention:per_head=true"


def test_best_is_what_a_checkpoint_callback_watched(saliency, capsys):
    watch = ("--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.monitor", "val/KLD")
    call("fit", *saliency, *popout_arguments(*watch, "--trainer.callbacks.filename", "low"))
    cli = call("test", *saliency, *popout_arguments("--ckpt_path", "best"))
    assert record_of(cli)["checkpoint"].endswith("version_0/checkpoints/low.ckpt")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((), "`salvit fit` makes one, and there is none under runs/default. --untrained true takes random"),
        (("--ckpt_path", "last"), "no checkpoint last.ckpt under runs/default"),
        (("--ckpt_path", "best"), "no best checkpoint under runs/default"),
    ],
)
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_a_model_that_was_not_fitted_is_no_result(saliency, capsys, stage, typed, said):
    assert said in failure(capsys, stage, *saliency, *popout_arguments(*typed))
    assert not Path("runs").exists()


def test_the_newest_candidate_is_named(checkpoint, saliency, capsys):
    message = failure(capsys, "test", *saliency, *popout_arguments())
    assert f"the newest of this experiment is --ckpt_path {checkpoint}, fitted on 20" in message
    classifier = ("--model", "ClassificationModule", "--model.num_classes", "10", "--model.vit", saliency[3])
    assert "needs a checkpoint" in failure(capsys, "test", *classifier, *popout_arguments())


def test_results_of_an_untrained_decoder_say_so(saliency, capsys):
    with pytest.warns(UserWarning, match="untrained decoder"):
        cli = call("test", *saliency, *popout_arguments(*UNTRAINED, *SCORES))
    record = record_of(cli)
    assert (record["untrained"], record["checkpoint"], record["checkpoint_sha256"]) == (True, None, None)
    assert record["model"].endswith(", untrained decoder")
    title, _, *table = (Path(cli.trainer.log_dir) / "scores.md").read_text().splitlines()
    assert title.endswith("untrained decoder")
    assert any("raw_attention" in line and ", untrained decoder |" in line for line in table)
    assert "untrained decoder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (UNTRAINED, "--untrained true contradicts --ckpt_path"),
        (("--weights_only", "false"), "--weights_only false is refused"),
        (("--model.center_bias", "true"), "the checkpoint belongs to another model"),
        (("--model.extractor", "Rollout"), "the checkpoint belongs to another model"),
    ],
)
def test_an_option_that_contradicts_the_checkpoint(checkpoint, capsys, typed, said):
    assert failure(capsys, "test", "--ckpt_path", checkpoint, *typed, *QUIET).startswith(said)
    assert not Path("runs/default/version_1").exists()


@pytest.mark.parametrize(("epochs", "more"), [(3, ()), (12, ("--trainer.callbacks", "LearningRateMonitor"))])
def test_last_is_the_last_epoch_however_often_is_validated(saliency, epochs, more):
    options = ("--trainer.check_val_every_n_epoch", "10", "--trainer.max_epochs", epochs, *more)
    cli = call("fit", *saliency, *popout_arguments(*options))
    [path] = Path("runs").rglob("*.ckpt")
    assert path == Path("runs/default/version_0/checkpoints/last.ckpt")
    stored = torch.load(path, weights_only=True)
    assert (stored["epoch"], stored["global_step"]) == (epochs - 1, cli.trainer.global_step)
    for name, tensor in cli.model.decoder.state_dict().items():
        torch.testing.assert_close(stored["state_dict"][f"decoder.{name}"], tensor, rtol=0, atol=0)


def test_a_fit_without_checkpoints(saliency):
    call("fit", *saliency, *popout_arguments("--trainer.enable_checkpointing", "false"))
    assert not list(Path("runs").rglob("*.ckpt"))


def test_a_checkpoint_is_all_that_test_needs(saliency):
    extractor = ("--model.extractor", "Rollout", "--model.extractor.start_layer", "1")
    fitted = call("fit", *saliency, *popout_arguments(*extractor, "--model.center_bias", "true"))
    [path] = Path("runs").rglob("last.ckpt")
    typed = call("test", "--ckpt_path", path, *QUIET)
    assert repr(typed.model.extractor) == repr(fitted.model.extractor)
    assert len(typed.datamodule.dataset("test")) == 3
    assert (Path(typed.trainer.log_dir) / "scores.md").is_file()
    options = ("--model.center_bias", "true", *SCORES, "--ckpt_path", path)
    whole = call("test", *saliency, *extractor, *popout_arguments(*options))
    assert typed.trainer.callback_metrics == whole.trainer.callback_metrics


def test_a_fit_that_is_resumed_keeps_its_hyperparameters(saliency):
    options = ("--model.lr", "0.25", "--model.loss", "SaliencyLoss", "--model.loss.cc", "0.5")
    call("fit", *saliency, *popout_arguments(*options))
    [path] = Path("runs").rglob("last.ckpt")
    cli = call("fit", "--ckpt_path", path, "--trainer.max_epochs", "2", "--model.weight_decay", "0.5", *QUIET)
    assert cli.trainer.global_step == 4
    assert (cli.model.lr, cli.model.weight_decay, cli.model.warmup_epochs) == (0.25, 0.5, 0)
    assert cli.model.loss.weights == {"kld": 1.0, "cc": 0.5, "nss": 0.0}


def test_a_checkpoint_and_a_folder_are_all_that_predict_needs(checkpoint, tmp_path):
    write_image(tmp_path / "images/a.jpg", (20, 30), 0)
    cli = call("predict", "--ckpt_path", checkpoint, "--data.root", tmp_path / "images", *QUIET)
    assert cli.datamodule.image_size == (32, 32)
    assert not cli.trainer.predict_loop.predictions  # they would fill the memory
    expected = salvit.load_saliency(checkpoint)(Image.open(tmp_path / "images/a.jpg"))
    np.testing.assert_allclose(np.load("runs/predict/version_0/maps/a.npy"), expected, rtol=1e-5)


def test_the_size_of_images_is_the_checkpoints_with_other_data(checkpoint, tmp_path):
    root = make_mit300(tmp_path / "data")
    mit300 = ("--config", ROOT / "experiments/mit300.yaml", "--data.root", root, "--data.num_workers", "0")
    assert call("predict", *mit300, "--ckpt_path", checkpoint, *QUIET).datamodule.image_size == (32, 32)


def test_a_classifier_is_scored_from_its_checkpoint_alone(vit_file):
    model = ("--model", "ClassificationModule", "--model.num_classes", "10", "--model.vit", vit_file())
    call("fit", *model, *popout_arguments())
    [path] = Path("runs").rglob("last.ckpt")
    cli = call("test", "--ckpt_path", path, *QUIET)
    assert 0 <= float(cli.trainer.callback_metrics["test/accuracy"]) <= 1
    assert (Path(cli.trainer.log_dir) / "scores.md").is_file()


# What people type wrongly


def test_explanations_that_do_not_fit_are_refused_before_a_folder_is_made(capsys, tmp_path):
    voc = (
        "--data",
        "VOC2012DataModule",
        "--data.root",
        make_voc(tmp_path / "data"),
        "--data.image_size",
        "32",
    )
    said = failure(capsys, "test", "--model", "ExplanationModule", *voc, *QUIET)
    assert "the model knows 10 classes and VOC2012DataModule has 20" in said
    method = ("--model.extractors", "[salient_attention:k=9999]")
    said = failure(capsys, "test", "--model", "ExplanationModule", *POPOUT, *FEW, *QUIET, *method)
    assert "at most" in said
    assert not list(Path.cwd().iterdir())


def test_a_command_without_a_model_says_what_names_one(capsys, tmp_path):
    write_image(tmp_path / "images/a.png", (20, 30))
    config = ("--config", ROOT / "experiments/predict.yaml")
    said = failure(capsys, "predict", *config, "--data.root", tmp_path / "images")
    assert said.startswith("--model missing: name it, a --config that does, or the --ckpt_path FILE of a fit")


@pytest.mark.parametrize(("typed", "tables"), [((), 0), (("--verbose", "true"), 1)])
def test_lightnings_table_does_not_repeat_ours(saliency, capsys, typed, tables):
    callbacks = ("--trainer.callbacks", "salvit.callbacks.scores.Scores")
    call("test", *saliency, *popout_arguments(*callbacks, *UNTRAINED, *typed))
    printed = capsys.readouterr().out
    assert printed.count("Test metric") == tables
    assert "center prior" in printed


def test_wrong_commands(capsys):
    assert "'frobnicate'" in failure(capsys, "frobnicate", status=2)
    assert "--data, --model missing" in failure(capsys, "fit", status=2)
    assert "nope.yaml" in failure(capsys, "fit", "--config", "nope.yaml", status=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model.extractor", "rollot"], '^--model.extractor: no method "rollot"; did you mean "rollout"'),
        (["--model.extractor", "rollout:rowz=1"], "rollout has no option rowz.*; its options: start_layer, per_head"),
        (
            ["--model.extractor", "RawAttention", "--model.extractor.blok", "3"],
            r"^--model.extractor: RawAttention has no option blok; did you mean block\?; known are .*rows",
        ),
        (["--model.nope", "3"], "^--model: SaliencyModule has no option nope; known are .*extractor"),
        (["--model.lr", "fast"], "^--model.lr: expected float; got fast\n"),
        (["--model.profile", "best"], "^--model.profile: expected one of exact, mit, tuebingen; .*got best\n"),
        (["--trainer.max_epochs", "many"], "max_epochs.*int.*many"),
        (["--trainer.max_epoch", "3"], r"^no option --trainer.max_epoch; did you mean --trainer.max_epochs\?"),
        (["--nam", "3"], r"^no option --nam; did you mean --name\?"),
        (["--data", "NoData"], "there is no NoData; known are .*PopOutDataModule"),
        ([*SALIENT, "--model.extractor.k", "9", "--model.extractor.rank", "4"], "got k=9, rank=4"),
        (["--model.extractor", "salient_attention:k=2000"], "into 2000 modes"),
        (["--model.extractor", "RawAttention", "--model.extractor.block", "7"], "no block 7: the model has 2 blocks"),
        (["--model.loss", "SaliencyLoss", "--model.loss.kld", "0"], "weights must be"),
        (["--model.vit", "vit_bas_patch16_224"], "did you mean vit_base_patch16_224"),
        (["--model.vit", "resnet18"], '"resnet18" is not a plain ViT'),
        (["--model.vit", "nowhere.safetensors"], "no weights file nowhere.safetensors"),
        (["--model.warmup_epochs", "-1"], "warmup_epochs=-1"),
        (["--name", "../a"], "^--name '../a' must be a name"),
        (["--data.num_workers", "-1"], "^num_workers is -1: give the number"),
        (["--data.image_size", "36"], "sides must be multiples of the patch size 8×8"),
        (["--data.image_size", "16"], "at least 32 pixels"),
        (["--data.batch_size", "0"], "batch_size 0 must be at least 1"),
        (["--trainer.precision", "bf16-true"], "use one of 32-true, 16-mixed, bf16-mixed"),
        (["--trainer.accelerator", "abacus"], "accelerator='abacus'"),
        (["--trainer.devices", "2"], "--trainer.devices 2: this machine has 1 cores"),
        (["--ckpt_path", "nowhere.ckpt"], "^no checkpoint nowhere.ckpt"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused_before_a_run_begins(
    saliency, capsys, monkeypatch, arguments, said
):
    monkeypatch.setattr("salvit.cli.command.wandb_logger", lambda *_: pytest.fail("W&B was told"))
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    message = failure(capsys, "fit", *saliency, *logged_arguments(*arguments))
    assert re.search(said, message), message
    assert ("--help` lists the options" in message) != ("(SALVIT_TRACEBACK=1 shows where.)" in message)
    assert not list(Path.cwd().iterdir())


# Data that is not as it should be


@pytest.fixture
def salicon(tmp_path):
    return make_salicon(tmp_path / "salicon", train=3, val=3)


def cut(path):
    """Cut off the end: the header with the size is still there."""
    data = path.read_bytes()
    path.write_bytes(data[: int(0.9 * len(data))])
    return path


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ((), "pass root or set SALVIT_SALICON_ROOT"),
        (
            ("--data.root", "/no/where"),
            r"(?s)^Salicon: cannot find /no/where .*images/{train,val,test}/.*salicon.net",
        ),
    ],
)
def test_a_root_that_is_missing(saliency, capsys, root, said):
    message = failure(capsys, "fit", *saliency, "--data", "SaliconDataModule", *root, *QUIET, *SHORT, *CSV)
    assert re.search(said, message)


@pytest.mark.parametrize(
    ("file", "said", "workers"),
    [
        ("images/val/{}.jpg", r"the image .*on_error='skip'", 0),
        ("images/val/{}.jpg", "the image", 1),
        ("fixations/val/{}.mat", "the MATLAB file", 0),
    ],
)
def test_a_damaged_file_is_named(saliency, salicon, capsys, file, said, workers):
    path = cut(salicon / file.format(stem("val", 2)))
    typed = salicon_arguments(salicon, *UNTRAINED, "--data.num_workers", workers)
    message = failure(capsys, "test", *saliency, *typed, status=1)
    assert re.match(f"(?s){re.escape(str(path))}: cannot read {said}", message), message


def test_bad_images_are_skipped_and_counted(saliency, salicon):
    cut(salicon / f"images/val/{stem('val', 2)}.jpg")
    arguments = salicon_arguments(salicon, "--data.on_error", "skip", *SCORES)
    with pytest.warns(UserWarning, match="left out 1 of 3 images of the val split"):
        cli = call("test", *saliency, *arguments, *UNTRAINED)
    assert [item.name for item in cli.datamodule.skipped] == [stem("val", 2)]
    # A row of the model, two baselines and people for each of two images.
    assert len((Path(cli.trainer.log_dir) / "per_image.csv").read_text().splitlines()) == 1 + 4 * 2


def test_only_images_to_predict(saliency, tmp_path, capsys):
    write_image(tmp_path / "a.jpg", (20, 30))
    options = ("--data", "ImageFolderDataModule", "--data.root", tmp_path, "--data.image_size", "32")
    assert "use `salvit predict`" in failure(capsys, "fit", *saliency, *options, *QUIET, *SHORT, *CSV)


# Where a run is kept


@pytest.mark.parametrize("logger", ["false", "lightning.pytorch.loggers.WandbLogger"])
def test_no_file_of_the_user_is_touched(saliency, capsys, logger):
    for folder in (Path(), Path("runs"), Path("runs/default")):
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text("mine")
        (folder / "scores.md").write_text("mine")
    for version in (0, 1):
        cli = call("test", *saliency, *popout_arguments("--trainer.logger", logger, *SCORES, *UNTRAINED))
        assert Path(cli.trainer.log_dir).samefile(f"runs/default/version_{version}")
        assert f"run folder: runs/default/version_{version}" in capsys.readouterr().out
        written = {path.name for path in Path(cli.trainer.log_dir).iterdir()}
        assert {"config.yaml", "run.json", "scores.md", "per_image.csv", "metrics.csv"} <= written
    mine = [path for path in Path().rglob("*") if path.is_file() and path.read_bytes() == b"mine"]
    assert len(mine) == 6
    there = {path.name for path in Path("runs").iterdir()}
    assert there - {"wandb"} == {"config.yaml", "scores.md", "default"}


def test_one_name_for_folder_and_wandb(saliency, capsys, monkeypatch):
    told = []
    monkeypatch.setattr("salvit.cli.command.wandb_logger", lambda *about: told.append(about))
    arguments = logged_arguments()
    call("fit", *saliency, *arguments, "--name", "a/b", "--runs", "results", "--wandb", "mine")
    [(*where, labels, command)] = told
    assert where == ["mine", "results", "a/b/version_0"]
    assert (labels.dataset, labels.method, command) == ("PopOut", "raw_attention:per_head=true", "fit")
    printed = capsys.readouterr().out
    assert "run folder: results/a/b/version_0" in printed
    [checkpoint] = re.findall(r"checkpoint: (.*)", printed)
    assert Path(checkpoint).is_file()
    [command] = re.findall(r"test it: salvit (.*)", printed)
    assert command.split()[-1] == checkpoint
    cli = call(*command.split(), "--trainer.logger", "false")
    assert Path(cli.trainer.log_dir).samefile("results/a/b/version_1")
    call("test", *saliency, *arguments, *UNTRAINED, "--wandb", "false")
    assert len(told) == 1


def test_an_interpolation_of_a_logger_that_is_off(saliency, capsys, tmp_path):
    (tmp_path / "a.yaml").write_text(
        "trainer:\n  logger: {class_path: CSVLogger, init_args: {save_dir: logs}}\n"
        "  default_root_dir: ${trainer.logger.init_args.save_dir}\n"
    )
    message = failure(capsys, "fit", "--config", tmp_path / "a.yaml", *saliency, *popout_arguments())
    assert "trainer.default_root_dir: " in message
    assert "logger.init_args.save_dir" in message


# A process of its own


def test_results_on_stdout_the_rest_on_stderr(saliency, stranger):
    arguments = (*POPOUT, *FEW, *QUIET, *CSV, *SCORES, *UNTRAINED, "--verbose", "false")
    command = ("-m", "salvit", "test", *saliency, *arguments)
    loud, quiet = (in_a_process(*command, *flag, env=stranger) for flag in ([], ["-q"]))
    assert (loud.returncode, quiet.returncode) == (0, 0), loud.stderr + quiet.stderr
    assert loud.stdout.splitlines()[:-1] == quiet.stdout.splitlines()[:-1]
    assert loud.stdout.startswith("PopOut, test split")
    assert "Seed set" in loud.stderr
    assert re.fullmatch("warning: untrained decoder: .*\n", quiet.stderr)


@pytest.mark.parametrize("seconds", [1, 20])
def test_ctrl_c_ends_with_130(saliency, stranger, seconds):
    arguments = ("fit", *saliency, *popout_arguments("--data.train_size", "9999999"))
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    command = [sys.executable, "-m", "salvit", *map(str, arguments)]
    with subprocess.Popen(command, env=stranger, stderr=subprocess.PIPE, preexec_fn=heed) as run_:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                run_.wait(timeout=seconds)
            run_.send_signal(signal.SIGINT)
            error = run_.communicate(timeout=100)[1].decode()
        finally:
            run_.kill()
    # Python may end itself with the signal; a shell shows 130 in both cases.
    assert run_.returncode in (130, -signal.SIGINT)
    assert re.search("salvit: interrupted(; to go on, type the same command again)?\n$", error)
    assert "Traceback" not in error


@pytest.fixture
def stranger(tmp_path):
    """The environment of somebody without a login."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PYTEST"))}
    return {**kept, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}


def test_a_newcomer_is_asked_nothing(saliency, stranger):
    pictures = ("--trainer.callbacks", "salvit.callbacks.pictures.Pictures")
    arguments = logged_arguments("--model.lr", "0.00321", *pictures)
    done = in_a_process("-m", "salvit", "fit", *saliency, *arguments, env=stranger)
    assert done.returncode == 0, done.stderr
    assert "W&B: no login; logging offline under runs/wandb" in done.stderr
    assert "run folder: runs/default/version_0" in done.stdout
    assert "Seed set" not in done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert yaml.safe_load(Path("runs/default/version_0/config.yaml").read_text())
    (record,) = Path("runs/wandb").glob("offline-run-*/*.wandb")
    assert b"salvit.SaliencyModule" in record.read_bytes()
    assert b"0.00321" in record.read_bytes()
    (picture,) = record.parent.glob("files/media/images/val/pictures_*.png")
    assert picture.read_bytes() == Path("runs/default/version_0/pictures/val.png").read_bytes()
