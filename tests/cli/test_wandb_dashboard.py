"""What W&B is told of a run, read back from the file of an offline run."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from salvit.callbacks.classification_scores import SCORES
from salvit.cli.command import run
from salvit.metrics import saliency_metrics

DATA = (
    "--data",
    "PopOutDataModule",
    "--data.batch_size",
    "2",
    "--data.image_size",
    "32",
    "--data.num_workers",
    "0",
)
FEW = ("--data.train_size", "4", "--data.val_size", "3", "--data.test_size", "3")
QUIET = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_model_summary", "false")
SCORED = ("--trainer.callbacks", "salvit.callbacks.scores.Scores")
DRAWN = ("--trainer.callbacks+", "salvit.callbacks.pictures.Pictures")
EXACT = ("CC", "NSS", "SIM", "KLD", "sAUC", "AUC")
LABELS = ("backbone", "method", "k", "dataset")


@pytest.fixture
def call(monkeypatch, tmp_path, offline_wandb):
    """Runs a command line and reads what W&B has kept of it."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        run([*arguments, *DATA, *FEW, *QUIET, "--name", "sweep/a"])
        return offline_wandb()

    return call


@pytest.fixture
def saliency(vit_file):
    return ("--model", "SaliencyModule", "--model.vit", vit_file(), "--model.warmup_epochs", "0")


def best(name, values):
    [metric] = [metric for key, metric in saliency_metrics().items() if key == name]
    return {"max": max(values)} if metric.higher_is_better else {"min": min(values)}


def test_fits_of_a_sweep_over_k(call, saliency):
    options = (*saliency, *SCORED, *DRAWN, "--trainer.max_epochs", "2", "--model.lr", "0.05")
    one, other = (call("fit", *options, "--model.extractor", f"salient_attention:k={k}") for k in (2, 4))
    backbone = Path(saliency[3]).name

    # What the run is about
    assert one.about.display_name == f"{backbone} · salient_attention · k=2 · PopOut · sweep/a/version_0"
    assert one.about.run_group == other.about.run_group == f"{backbone} · salient_attention · PopOut"
    assert list(one.about.tags) == [backbone, "salient_attention", "k=2", "PopOut"]
    assert one.about.job_type == "fit"

    # The whole configuration, with the defaults
    written = yaml.safe_load(Path("runs/sweep/a/version_0/config.yaml").read_text())
    assert {key: one.config[key] for key in written} == written
    assert one.config["trainer"]["accumulate_grad_batches"] == 1
    assert [one.config[key] for key in LABELS] == [backbone, "salient_attention", 2, "PopOut"]
    assert other.config["k"] == 4
    assert one.config["methods"]["salient_attention:k=2"]["max_iter"] == 100
    assert one.config["folder"] == "runs/sweep/a/version_0"

    # The direction that is better, and the best of each curve
    for name in EXACT:
        history = one.history[f"val/{name}"]
        assert len(history) == 2
        assert one.summary[f"val/{name}"] == best(name, history)
        assert one.summaries[f"val/{name}"] == set(best(name, history))
    assert one.config["higher_is_better"] == {name: name != "KLD" for name in EXACT}

    # Pictures
    assert len(one.history["val/pictures"]) == 2
    panel = one.history["val/pictures"][-1]
    assert panel["captions"] == ["val_000000, val_000001"]
    [file] = panel["filenames"]
    assert (one.folder / "files" / file).read_bytes() == Path(
        "runs/sweep/a/version_0/pictures/val.png"
    ).read_bytes()

    # The rows of the sweep's table
    rows = [*one.table("val/scores"), *other.table("val/scores")]
    assert [row["k"] for row in rows] == [2, 4]
    assert rows[0].keys() == rows[1].keys()
    assert rows[1]["KLD ↓"] == pytest.approx(other.history["val/KLD"][-1])


def test_a_test_of_saliency(call, saliency):
    kept = call(
        "test", *saliency, *SCORED, *DRAWN, "--untrained", "true", "--model.profile", "[exact,tuebingen]"
    )
    assert kept.about.job_type == "test"
    assert list(kept.about.tags)[1:] == ["raw_attention:per_head=true", "PopOut"]
    assert kept.config["higher_is_better"]["tuebingen/IG"] is True
    assert kept.config["higher_is_better"]["tuebingen/KLD"] is False
    [row] = kept.table("test/scores")
    assert set(row) == {"model", *LABELS, *(f"{name} {'↓' if name == 'KLD' else '↑'}" for name in EXACT)}
    assert row["k"] is None
    for name in EXACT:
        assert kept.summary[f"test/{name}"] == pytest.approx(row[f"{name} {'↓' if name == 'KLD' else '↑'}"])
    [tuebingen] = kept.table("test/scores_tuebingen")
    assert tuebingen["IG ↑"] == pytest.approx(kept.summary["test/tuebingen/IG"])
    assert [one["model"] for one in kept.table("test/table")][1:3] == ["center prior", "random"]

    images = kept.table("test/images")
    assert [one["name"] for one in images] == ["test_000000", "test_000001"]
    pictures = kept.pictures("test/images")
    assert len(pictures) == 2 * 4
    with Image.open(pictures[0]) as picture:
        assert picture.width > 100


def test_the_scores_of_an_image_are_its_own(call, saliency):
    kept = call("test", *saliency, *SCORED, *DRAWN, "--untrained", "true")
    scores = pd.read_csv("runs/sweep/a/version_0/per_image.csv")
    written = scores[scores["model"].str.contains("untrained")].set_index("image")
    for one in kept.table("test/images"):
        for name in EXACT:
            assert one[name] == pytest.approx(written.at[one["name"], name], abs=1e-4)


def test_a_test_of_explanations(call, vit_file):
    methods = ["rollout", "salient_attention:k=2"]
    scored = "salvit.callbacks.explanation_scores.ExplanationScores"
    drawn = "salvit.callbacks.explanation_pictures.ExplanationPictures"
    model = (
        "--model",
        "ExplanationModule",
        "--model.vit",
        vit_file(),
        "--model.extractors",
        json.dumps(methods),
    )
    kept = call("test", *model, "--trainer.callbacks", scored, "--trainer.callbacks+", drawn)
    backbone = Path(vit_file()).name
    assert kept.about.display_name == f"{backbone} · 2 methods · PopOut · sweep/a/version_0"
    assert list(kept.about.tags) == [backbone, "rollout", "salient_attention", "k=2", "PopOut"]
    assert set(kept.config["methods"]) == set(methods)
    assert kept.config["model"]["init_args"]["target"] == "label"
    assert kept.config["higher_is_better"] == {
        name: name != "MoRF" for name in kept.config["higher_is_better"]
    }

    rows = kept.table("test/scores")
    assert [(row["method"], row["k"]) for row in rows] == [("rollout", None), ("salient_attention", 2)]
    for method, row in zip(methods, rows, strict=True):
        assert row["model"] == f"{backbone} · {method}"
        assert row["NSS ↑"] == pytest.approx(kept.summary[f"test/{method}/NSS"])
    images = kept.table("test/heatmaps")
    assert list(images[0]) == ["name", "class", "image", *methods]
    assert len(kept.pictures("test/heatmaps")) == 3 * len(images) == 9
    assert {"test/methods", "test/curves"} <= kept.history.keys()


def test_a_classifier(call):
    vit = '{"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}'
    model = ("--model", "ClassificationModule", "--model.num_classes", "10", "--model.vit", vit)
    kept = call("fit", *model, "--trainer.max_epochs", "1", "--model.warmup_epochs", "0")
    assert kept.about.run_group == "ViT from scratch · PopOut"
    assert kept.summaries["val/accuracy"] == {"max"}
    assert kept.summary["val/accuracy"] == {"max": kept.history["val/accuracy"][0]}
    callback = "salvit.callbacks.classification_scores.ClassificationScores"
    kept = call("test", *model, "--untrained", "true", "--trainer.callbacks", callback)
    [row] = kept.table("test/scores")
    assert row["accuracy ↑"] == pytest.approx(kept.summary["test/accuracy"])
    assert kept.config["higher_is_better"] == dict.fromkeys(SCORES, True)
