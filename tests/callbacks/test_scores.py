import csv
import json

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from datamodules import CAT2000DataModule, SaliconDataModule
from salvit.callbacks.scores import Scores
from salvit.extractors import SalientAttention
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
    return SaliencyModule(vit=vit_file())


def test_of(make_trainer, tmp_path, module, data, **options):
    """Scores logged, and the rows of the table and of the file of images."""
    logger = CSVLogger(tmp_path, name="run", version="")
    trainer = make_trainer(logger=logger, callbacks=[Scores()], **options)
    trainer.test(module, data, verbose=False)
    with (tmp_path / "run/per_image.csv").open() as file:
        images = list(csv.DictReader(file))
    return trainer.callback_metrics, images, (tmp_path / "run/scores.md").read_text()


test_of.__test__ = False


@pytest.fixture
def tested(make_trainer, tmp_path, module, salicon):
    return test_of(make_trainer, tmp_path, module, salicon)


def mean(images, model, metric):
    values = [float(row[metric]) for row in images if row["model"] == model and row[metric]]
    return sum(values) / len(values)


def test_a_row_per_model_and_image(tested, module):
    _, images, _ = tested
    names = [stem("val", number) for number in range(1, 6)]
    models = [module.model_name, *OTHERS]
    assert [(row["model"], row["image"]) for row in images] == [(m, n) for m in models for n in names]
    assert list(images[0]) == ["model", "image", *METRICS]


def test_means_are_what_is_logged_and_printed(tested, module):
    logged, images, table = tested
    lines = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in table.splitlines() if "|" in line
    }
    for model, prefix in (
        (module.model_name, "test/"),
        ("center prior", "test/center prior/"),
        ("random", "test/random/"),
    ):
        for column, metric in enumerate(METRICS):
            expected = mean(images, model, metric)
            assert float(logged[prefix + metric]) == pytest.approx(expected, abs=2e-6)
            assert float(lines[model][column].strip("*| ")) == pytest.approx(expected, abs=6e-4)


def test_an_image_without_fixations_counts_in_no_column_of_any_row(tested, tmp_path):
    _, images, table = tested
    for row in images:
        scores = [row[metric] for metric in METRICS]
        if row["image"] == stem("val", 3):
            assert scores == [""] * 6
        elif row["model"] != "inter-observer":
            assert all(scores)
    assert "1 of 5 images without fixations left out" in table.splitlines()[0]
    about = json.loads((tmp_path / "run/scores.json").read_text())
    assert (about["images"], about["left_out"]) == (5, 1)


def test_an_image_with_an_empty_density_counts_in_no_column_of_any_profile(make_trainer, tmp_path, vit_file):
    root = make_salicon(tmp_path / "salicon", train=3, val=4)
    Image.new("L", (64, 48)).save(root / f"maps/val/{stem('val', 2)}.png")
    data = SaliconDataModule(root, image_size=32, batch_size=2, num_workers=0)
    module = SaliencyModule(vit=vit_file(), profile=["exact", "mit", "tuebingen"])
    test_of(make_trainer, tmp_path, module, data)
    for suffix in ("", "_mit", "_tuebingen"):
        with (tmp_path / f"run/per_image{suffix}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["model"] for row in rows} == {module.model_name, *OTHERS}
        for row in rows:
            assert any(list(row.values())[2:]) == (row["image"] != stem("val", 2))
        title = (tmp_path / f"run/scores{suffix}.md").read_text().splitlines()[0]
        assert "val split, 1 of 4 images without fixations left out" in title


def test_baselines_are_what_their_names_say(tested, salicon):
    _, images, _ = tested
    prior = salicon.center_prior((48, 64))[None]
    for index in (0, 4):
        sample = salicon.dataset("test")[index]
        noise = torch.rand((48, 64), generator=torch.Generator().manual_seed(index))[None]
        for offset, saliency in ((5, prior), (10, noise)):
            row = images[offset + index]
            assert float(row["CC"]) == pytest.approx(
                float(functional.cc(saliency, sample["density"][None])), abs=2e-6
            )
            assert float(row["NSS"]) == pytest.approx(
                float(functional.nss(saliency, [sample["fixations"]])), abs=2e-6
            )


def test_the_title_says_what_a_score_depends_on(tested):
    *_, table = tested
    title = table.splitlines()[0]
    assert all(
        part in title for part in ("Salicon", "2017", "val split", "5 images", "profile exact", "nats")
    )


def test_the_best_of_a_column_is_bold(tested):
    _, images, table = tested
    (row,) = [line for line in table.splitlines() if line.startswith("| center prior")]
    assert mean(images, "center prior", "KLD") < mean(images, "random", "KLD")
    assert "**" not in next(line for line in table.splitlines() if line.startswith("| random")).split("|")[5]
    assert row.count("|") == 8


def test_a_second_test_starts_anew(make_trainer, tmp_path, module, salicon):
    logger = CSVLogger(tmp_path, name="run", version="")
    trainer = make_trainer(logger=logger, callbacks=[Scores()])
    first, second = (trainer.test(module, salicon, verbose=False)[0] for _ in range(2))
    assert first == pytest.approx(second, nan_ok=True)
    assert len((tmp_path / "run/per_image.csv").read_text().splitlines()) == 1 + 20


def test_the_model_is_named_after_its_extractor(make_trainer, tmp_path, vit_file, salicon):
    module = SaliencyModule(vit=vit_file(), extractor=SalientAttention(k=2))
    _, images, _ = test_of(make_trainer, tmp_path, module, salicon)
    assert images[0]["model"].endswith(" · salient_attention:k=2")


def test_two_processes_write_what_one_does(make_trainer, tmp_path, module, salicon, tested):
    logged, images, table = tested
    options = {"devices": 2, "strategy": "ddp_fork"}
    both, rows, other = test_of(make_trainer, tmp_path / "two", module, salicon, **options)
    assert {(row["model"], row["image"]): row for row in rows} == {
        (row["model"], row["image"]): row for row in images
    }
    assert other == table
    assert {name: float(value) for name, value in both.items()} == pytest.approx(
        {name: float(value) for name, value in logged.items()}, abs=1e-6
    )


def test_scores_after_fit_are_printed(make_trainer, tmp_path, module, popout, capsys):
    module.warmup_epochs = 0
    make_trainer(callbacks=[Scores()]).fit(module, popout)
    printed = capsys.readouterr().out
    assert "PopOut, val split, 3 images" in printed
    assert "raw_attention" in printed


def test_scores_after_fit_say_how_many_images_nobody_looked_at(make_trainer, module, salicon, capsys):
    module.warmup_epochs = 0
    make_trainer(callbacks=[Scores()]).fit(module, salicon)
    assert "val split, 1 of 5 images without fixations left" in " ".join(capsys.readouterr().out.split())


def test_scores_after_fit_are_of_the_images_that_were_scored(make_trainer, module, popout, capsys):
    module.warmup_epochs = 0
    popout.batch_size = 2
    make_trainer(callbacks=[Scores()], limit_val_batches=1).fit(module, popout)
    assert "PopOut, val split, 2 images" in capsys.readouterr().out


def test_scores_by_category(make_trainer, tmp_path, module):
    data = CAT2000DataModule(
        make_cat2000(tmp_path / "cat", each=10), image_size=32, batch_size=3, num_workers=0
    )
    _, images, _ = test_of(make_trainer, tmp_path, module, data)
    text = (tmp_path / "run/categories.md").read_text()
    assert "4 images, profile exact" in text
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in text.splitlines()[4:]]
    assert [row[0] for row in rows] == ["Action", "Satelite"]
    for category, *cells in rows:
        of_it = [row for row in images if row["image"].startswith(category)]
        assert len([row for row in of_it if row["model"] == module.model_name]) == 2
        for metric, cell in zip(METRICS, cells, strict=True):
            assert float(cell) == pytest.approx(mean(of_it, module.model_name, metric), abs=1e-3)


def test_no_categories_no_file(tested, tmp_path):
    assert not (tmp_path / "run/categories.md").exists()
