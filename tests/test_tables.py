"""Every line that `make table1` and its siblings run, in this process, on data in the published layouts.

Small ViTs with random weights take the place of the named ones, which would have to be downloaded; a fit or test is one
batch.
"""

import re
import shlex
from pathlib import Path

import pytest
import timm
import yaml

from salvit.cli.command import run
from salvit.report.compare import main as compare
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.imagenet import make_imagenet
from tests.datamodules.data.mit import make_mit300
from tests.datamodules.data.osie import make_osie
from tests.datamodules.data.salicon import make_salicon
from tests.datamodules.data.voc import make_voc
from tests.test_demo import make

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "experiments/tables"
VITS = sorted(path.stem for path in (FOLDER / "vits").glob("*.yaml"))
METHODS = sorted(path.stem for path in (FOLDER / "methods").glob("*.yaml"))
ROWS = [
    *(f"supervised/{method}" for method in METHODS),
    *(f"{vit}/raw_attention" for vit in VITS if vit != "supervised"),
]
ONE_BATCH = "--trainer.fast_dev_run true"
SMALL = "--data.num_workers 0 --data.batch_size 2 --trainer.accelerator cpu --trainer.devices 1 --wandb false"
POPOUT = "--data.train_size 4 --data.val_size 2 --data.test_size 2"

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended")


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    """A tiny dataset for each environment variable."""
    monkeypatch.chdir(ROOT)  # from where `make` runs
    monkeypatch.setenv("SALVIT_SALICON_ROOT", str(make_salicon(tmp_path / "salicon")))
    monkeypatch.setenv("SALVIT_OSIE_ROOT", str(make_osie(tmp_path / "osie")))
    monkeypatch.setenv("SALVIT_CAT2000_ROOT", str(make_cat2000(tmp_path / "cat2000", test=1)))
    monkeypatch.setenv("SALVIT_MIT300_ROOT", str(make_mit300(tmp_path / "mit300")))
    monkeypatch.setenv("SALVIT_VOC2012_ROOT", str(make_voc(tmp_path / "voc")))
    monkeypatch.setenv("SALVIT_IMAGENET_ROOT", str(make_imagenet(tmp_path / "imagenet")))


@pytest.fixture
def lines(tmp_path):
    """Command lines of salvit that a target runs, as lists of arguments."""

    def ask(*arguments):
        printed = make(*arguments, f"RUNS={tmp_path}/runs", "GPUS=0", "--dry-run").replace("\\\n", " ")
        parts = [part for line in printed.splitlines() for part in line.split(" && ")]
        return [shlex.split(part)[1:] for part in parts if "/salvit " in part]

    return ask


def call(arguments):
    """Run a line; one batch is no checkpoint, so that a test of it takes random weights."""
    if "--trainer.fast_dev_run" in arguments and "last" in arguments:
        at = arguments.index("last") - 1
        arguments = [*arguments[:at], "--untrained", "true", *arguments[at + 2 :]]
    return run(arguments)


def of(path, part):
    return yaml.safe_load(path.read_text())[part]["init_args"]


@pytest.mark.parametrize("row", ROWS)
def test_every_row(row, lines, vit_file):
    vit = vit_file(num_classes=10 if row.startswith("supervised") else 0)
    arguments = f"{SMALL} {ONE_BATCH} --model.vit {vit} --data.image_size [64,128]"
    stages = lines("table1", f"ROWS={row}", f"ARGS={arguments}", "SALVIT_MIT300_ROOT=")
    assert [stage[0] for stage in stages] == (["test"] if "unsupervised" in row else ["fit", "test"])
    for stage in stages:
        cli = call(stage)
        options = cli.config[cli.subcommand]
        assert options["name"] == f"salicon/{row}/seed0"
        assert options["data"]["class_path"] == "datamodules.SaliconDataModule"
        assert cli.trainer.callback_metrics


@pytest.mark.parametrize("data", [path.stem for path in (FOLDER / "data").glob("*.yaml")])
def test_every_dataset(data, lines, vit_file):
    arguments = f"{SMALL} {ONE_BATCH} --model.vit {vit_file()} --data.image_size [32,48]"
    options = ("ROWS=dino/rollout", f"DATA={data}", f"ARGS={arguments} {POPOUT if data == 'popout' else ''}")
    for stage in lines("table1", *options, "SALVIT_MIT300_ROOT="):
        assert call(stage).trainer.callback_metrics


@pytest.mark.parametrize("vit", VITS)
def test_every_vit_can_be_had_and_divides_its_images(vit):
    path = FOLDER / f"vits/{vit}.yaml"
    name, size = of(path, "model")["vit"], of(path, "data")["image_size"]
    if name == "salvit_tiny":
        patch = 8
    else:
        assert name in timm.list_pretrained()
        patch = int(re.findall(r"patch(\d+)", name)[0])
    assert [side // patch for side in size] == [15, 20]
    assert [side % patch for side in size] == [0, 0]


def test_every_table_has_the_rows_of_the_paper(lines):
    def rows(table, *options):
        names = [stage[stage.index("--name") + 1] for stage in lines(table, *options)]
        return list(dict.fromkeys(name.partition("/")[2].rpartition("/")[0] for name in names))

    attention = ["raw_attention", "rollout", "salient_attention-32", "unsupervised_map"]
    relevance = ["relevance_lrp", "full_lrp", "partial_lrp"]
    table1 = [f"supervised/{method}" for method in relevance + attention]
    assert rows("table1") == [*table1, *(f"dino/{method}" for method in attention)]
    assert rows("table2") == ["dino/raw_attention", "dino/salient_attention-32"]
    ks = (16, 32, 64, 128, 256)
    assert rows("table3") == [f"dino/salient_attention-{k}" for k in ks]
    assert rows("table1", "VITS=salvit_tiny", "DATA=osie") == [
        row.replace("supervised/", "salvit_tiny/") for row in table1
    ]
    assert rows("table3", "SEEDS=0 1", "ROWS=a/b") == ["a/b"]


def test_other_datasets_get_the_decoders_fitted_on_salicon(lines, vit_file, tmp_path, capsys):
    pytest.importorskip("h5py")
    arguments = f"{SMALL} --model.vit {vit_file(num_classes=0)} --data.image_size [32,48]"
    options = ("ROWS=dino/raw_attention", f"ARGS={arguments}")
    training = "FIT_ARGS=--trainer.max_epochs 1 --model.warmup_epochs 0 --trainer.log_every_n_steps 1"
    for stage in [*lines("table1", *options, training), *lines("table2", *options)[2:]]:
        call([*stage, *shlex.split("--data.num_workers 0 --trainer.accelerator cpu --wandb false")])
    folder = tmp_path / "runs/tables/salicon"
    assert sorted(
        path.name for path in (folder / "dino/raw_attention/seed0").glob("*/submission/maps/*")
    ) == [*("Action", "Satelite", "i1.png", "i10.png", "i2.png")]
    compare(["table1", str(folder)])
    text = (folder / "table1.md").read_text()
    assert "\n| dino/raw_attention, difference | " in text
    assert text.startswith("Salicon layout 2017, val split, 2 images")
    assert text.count("predicted, for the benchmark to score: MIT300") == 1
    compare(["table2", str(folder)])
    assert (folder / "table2.md").read_text().startswith("CAT2000, val split, ")


def test_table2_says_first_that_cat2000_is_missing(lines, monkeypatch):
    monkeypatch.setenv("SALVIT_CAT2000_ROOT", "")
    with pytest.raises(AssertionError, match="set SALVIT_CAT2000_ROOT"):
        make("table2", "VITS=none")


def test_explanations(lines, vit_file, tmp_path):
    """The head's line writes the ViT that the next line explains."""
    small = f"{SMALL} {ONE_BATCH} --data.image_size 32"
    options = ("ROWS=voc", f"ARGS={small}", f"HEAD_ARGS={small} --model.vit {vit_file()}")
    fit, test, explain = lines("table-agcam", *options)
    for stage in (fit, test, explain):
        cli = call(stage)
    assert cli.config["test"]["model"]["init_args"]["vit"].startswith(
        f"{tmp_path}/runs/tables/agcam/voc_head"
    )
    assert list(cli.model.methods) == ["rollout", "relevance_lrp", "agcam"]
    names = [stage[stage.index("--name") + 1] for stage in lines("table-agcam")]
    assert list(dict.fromkeys(names)) == [
        f"agcam/{name}" for name in ("imagenet", "voc_head", "voc", "cub_head", "cub")
    ]
    [line] = lines("table-agcam", "DATA=popout", f"ARGS={small} {POPOUT}")
    assert call(line).model.model_name.startswith("salvit_tiny")
