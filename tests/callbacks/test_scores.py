import csv

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from datamodules import CAT2000DataModule, SaliconDataModule
from salvit.callbacks.scores import Scores, per_image_csv
from salvit.extractors import SalientAttention
from salvit.metrics import functional
from salvit.modules import SaliencyModule
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.salicon import make_salicon, stem, write_gaze

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


def test_a_row_per_model_and_image(tested):
    _, images, _ = tested
    names = [stem("val", number) for number in range(1, 6)]
    models = ["RawAttention", "center prior", "random", "inter-observer"]
    assert [(row["model"], row["image"]) for row in images] == [(m, n) for m in models for n in names]
    assert list(images[0]) == ["model", "image", *METRICS]


def test_means_are_what_is_logged_and_printed(tested):
    logged, images, table = tested
    lines = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in table.splitlines() if "|" in line
    }
    for model, prefix in (
        ("RawAttention", "test/"),
        ("center prior", "test/center prior/"),
        ("random", "test/random/"),
    ):
        for column, metric in enumerate(METRICS):
            expected = mean(images, model, metric)
            assert float(logged[prefix + metric]) == pytest.approx(expected, abs=2e-6)
            assert float(lines[model][column].strip("*| ")) == pytest.approx(expected, abs=6e-4)


def test_an_image_without_fixations_has_empty_cells(tested):
    _, images, _ = tested
    row = images[2]
    assert [row[metric] for metric in ("NSS", "sAUC", "AUC")] == ["", "", ""]
    assert row["CC"]
    assert all(cell for other in (images[0], images[1], images[3]) for cell in other.values())


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
    assert images[0]["model"] == "SalientAttention"


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
    assert "RawAttention" in printed


def test_scores_after_fit_are_of_the_images_that_were_scored(make_trainer, module, popout, capsys):
    module.warmup_epochs = 0
    popout.batch_size = 2
    make_trainer(callbacks=[Scores()], limit_val_batches=1).fit(module, popout)
    assert "PopOut, val split, 2 images" in capsys.readouterr().out


def test_csv_of_scores():
    scores = {"a, b": {"CC": torch.tensor([0.5, torch.nan])}}
    assert per_image_csv(scores, ["x", "y"]) == 'model,image,CC\n"a, b",x,0.500000\n"a, b",y,\n'


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
        assert len([row for row in of_it if row["model"] == "RawAttention"]) == 2
        for metric, cell in zip(METRICS, cells, strict=True):
            assert float(cell) == pytest.approx(mean(of_it, "RawAttention", metric), abs=1e-3)


def test_no_categories_no_file(tested, tmp_path):
    assert not (tmp_path / "run/categories.md").exists()
