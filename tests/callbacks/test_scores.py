import json

import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from datamodules import CAT2000DataModule, SaliconDataModule
from salvit.callbacks.scores import Scores
from salvit.metrics import functional
from salvit.modules import SaliencyModule
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.salicon import make_salicon, stem, write_gaze

OTHERS = ["center prior", "random", "inter-observer"]
METRICS = ["CC", "NSS", "SIM", "KLD", "sAUC", "AUC"]


@pytest.fixture(autouse=True)
def without_classical_model(monkeypatch):
    """As where OpenCV has no contributed modules, whatever is installed."""
    monkeypatch.setattr("salvit.callbacks.scores.has_classical", lambda: False)


@pytest.fixture
def salicon(tmp_path):
    """Five labelled images, on the third of which nobody looked."""
    root = make_salicon(tmp_path / "salicon", train=3, val=5)
    write_gaze(root / f"fixations/val/{stem('val', 3)}.mat", [])
    return SaliconDataModule(root, image_size=32, batch_size=2, num_workers=0)


@pytest.fixture
def module(vit_file):
    torch.manual_seed(0)
    return SaliencyModule(vit=vit_file(), warmup_epochs=0)


@pytest.fixture
def score(make_trainer, tmp_path):
    """Tests a model; returns its trainer, and the rows of the file of images and of the table."""

    def test(module, data):
        trainer = make_trainer(logger=CSVLogger(tmp_path, "run", ""), callbacks=[Scores()])
        trainer.test(module, data, verbose=False)
        return trainer, images_of(tmp_path / "run"), table_of(tmp_path / "run/scores.md")

    return test


def images_of(folder, suffix=""):
    return pd.read_csv(folder / f"per_image{suffix}.csv", float_precision="round_trip")


def table_of(path):
    """The cells of a table by the first one."""
    lines = [line.strip("|").split("|") for line in path.read_text().splitlines() if line.startswith("|")]
    return {name.strip(): [cell.strip() for cell in cells] for name, *cells in lines}


def test_the_table_has_the_means_of_the_images_that_were_looked_at(score, module, salicon, tmp_path):
    trainer, images, table = score(module, salicon)
    names = [stem("val", number) for number in range(1, 6)]
    models = [module.model_name, *OTHERS]
    assert list(zip(images["model"], images["image"], strict=True)) == [(m, n) for m in models for n in names]
    assert list(images.columns) == ["model", "image", *METRICS]
    prefixes = {module.model_name: "test/", "center prior": "test/center prior/", "random": "test/random/"}
    means = images.groupby("model")[METRICS].mean()
    for model, prefix in prefixes.items():
        for metric, cell in zip(METRICS, table[model], strict=True):
            mean = means[metric][model]
            assert float(trainer.callback_metrics[prefix + metric]) == pytest.approx(mean, abs=2e-6)
            assert float(cell.strip("*")) == pytest.approx(mean, abs=6e-4)
            best = means[metric].drop("inter-observer").agg("min" if metric == "KLD" else "max")
            assert cell.startswith("**") == (mean == best)
    empty = images["image"] == stem("val", 3)
    assert images[empty][METRICS].isna().all(axis=None)
    assert images[~empty & (images["model"] != "inter-observer")].notna().all(axis=None)
    title = (tmp_path / "run/scores.md").read_text().splitlines()[0]
    said = "Salicon", "2017", "val split", "profile exact", "nats", "1 of 5 images without fixations left out"
    assert all(part in title for part in said), title
    about = json.loads((tmp_path / "run/scores.json").read_text())
    assert (about["images"], about["left_out"]) == (5, 1)
    assert not (tmp_path / "run/categories.md").exists()
    trainer.test(module, salicon, verbose=False)  # begins anew
    pd.testing.assert_frame_equal(images_of(tmp_path / "run"), images)


def test_an_image_with_an_empty_density_counts_in_no_column_of_any_profile(score, tmp_path, vit_file):
    root = make_salicon(tmp_path / "salicon", train=3, val=4)
    Image.new("L", (64, 48)).save(root / f"maps/val/{stem('val', 2)}.png")
    data = SaliconDataModule(root, image_size=32, batch_size=2, num_workers=0)
    module = SaliencyModule(vit=vit_file(), profile=["exact", "mit", "tuebingen"])
    score(module, data)
    for suffix in ("", "_mit", "_tuebingen"):
        images = images_of(tmp_path / "run", suffix)
        assert set(images["model"]) == {module.model_name, *OTHERS}
        scored = images.drop(columns=["model", "image"]).notna().any(axis=1)
        assert (scored == (images["image"] != stem("val", 2))).all()
        title = (tmp_path / f"run/scores{suffix}.md").read_text().splitlines()[0]
        assert "val split, 1 of 4 images without fixations left out" in title


def test_baselines_are_what_their_names_say(score, module, salicon):
    _, images, _ = score(module, salicon)
    for index in (0, 4):
        sample = salicon.dataset("test")[index]
        noise = torch.rand((48, 64), generator=torch.Generator().manual_seed(index))
        for name, saliency in (("center prior", salicon.center_prior((48, 64))), ("random", noise)):
            row = images[images["model"] == name].iloc[index]
            cc = functional.cc(saliency[None], sample["density"][None])
            nss = functional.nss(saliency[None], [sample["fixations"]])
            assert [row["CC"], row["NSS"]] == pytest.approx([float(cc), float(nss)], abs=2e-6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("popout", "PopOut, val split, 3 images"),
        ("salicon", "val split, 1 of 4 images without fixations left"),
    ],
)
def test_scores_after_fit_are_of_the_images_that_were_scored(
    make_trainer, module, data, said, request, capsys
):
    make_trainer(callbacks=[Scores()], limit_val_batches=2).fit(module, request.getfixturevalue(data))
    printed = " ".join(capsys.readouterr().out.split())
    assert said in printed
    assert "raw_attention" in printed


def test_scores_by_category(score, tmp_path, module):
    root = make_cat2000(tmp_path / "cat", each=10)
    data = CAT2000DataModule(root, image_size=32, batch_size=3, num_workers=0)
    _, images, _ = score(module, data)
    assert "4 images, profile exact" in (tmp_path / "run/categories.md").read_text()
    images = images[images["model"] == module.model_name]
    table = table_of(tmp_path / "run/categories.md")
    assert list(table)[2:] == ["Action", "Satelite"]
    for category in ("Action", "Satelite"):
        rows = images[images["image"].str.startswith(category)]
        assert len(rows) == 2
        cells = [float(cell.strip("*")) for cell in table[category]]
        assert cells == pytest.approx(rows[METRICS].mean().tolist(), abs=1e-3)
