import csv
import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from datamodules import SaliconDataModule
from salvit.callbacks.scores import Scores
from salvit.metrics import functional
from salvit.modules import SaliencyModule
from salvit.report.runs import Run
from salvit.report.tables import read_tables
from tests.datamodules.data.salicon import make_salicon, stem, write_gaze

MIT = ["AUC-Judd", "SIM", *(["EMD"] if find_spec("ot") else []), "AUC-Borji", "sAUC", "CC", "NSS", "KLD"]


@pytest.fixture
def salicon(tmp_path):
    return SaliconDataModule(
        make_salicon(tmp_path / "salicon", train=3, val=4), image_size=32, batch_size=2, num_workers=0
    )


@pytest.fixture
def run(make_trainer, tmp_path, vit_file, salicon, monkeypatch):
    """Tests a model under some profiles; returns the trainer and the log folder."""
    monkeypatch.setattr("salvit.callbacks.scores.has_classical", lambda: False)

    def test(*profiles, **options):
        torch.manual_seed(0)
        module = SaliencyModule(vit=vit_file(), profile=list(profiles))
        logger = CSVLogger(tmp_path, name="run", version="_".join([*profiles, *options]))
        trainer = make_trainer(logger=logger, callbacks=[Scores()], **options)
        trainer.test(module, salicon, verbose=False)
        return trainer, tmp_path / "run" / logger.version

    return test


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_table_and_a_file_of_images_per_profile(run, capsys):
    trainer, folder = run("exact", "mit", "tuebingen")
    printed = capsys.readouterr().out
    for suffix, profile, columns in (
        ("", "exact", ["CC", "NSS", "SIM", "KLD", "sAUC", "AUC"]),
        ("_mit", "mit", MIT),
        ("_tuebingen", "tuebingen", ["IG", "AUC", "sAUC", "NSS", "CC", "KLD", "SIM"]),
    ):
        title, _, header, *_ = (folder / f"scores{suffix}.md").read_text().splitlines()
        assert f"profile {profile} (" in title
        assert f"profile {profile}" in printed
        images = rows_of(folder / f"per_image{suffix}.csv")
        assert list(images[0]) == ["model", "image", *columns]
        assert all(name in header for name in columns)
        assert len(images) == 4 * 4
        prefix = "" if profile == "exact" else f"{profile}/"
        for column in columns:
            values = [float(row[column]) for row in images[:4] if row[column]]
            logged = trainer.callback_metrics[f"test/{prefix}{column}"]
            assert float(logged) == pytest.approx(sum(values) / len(values), abs=2e-6)


def test_profiles_differ_where_their_definitions_do(run, salicon):
    _, folder = run("exact", "mit", "tuebingen")
    exact, mit, tuebingen = (
        rows_of(folder / f"per_image{suffix}.csv") for suffix in ("", "_mit", "_tuebingen")
    )
    prior = salicon.center_prior((48, 64))[None]
    for index in range(4):
        sample, row = salicon.dataset("test")[index], 4 + index
        points = [sample["fixations"]]
        assert float(mit[row]["NSS"]) == pytest.approx(
            functional.nss(prior, points, duplicates=False).item(), abs=2e-6
        )
        assert float(tuebingen[row]["NSS"]) == pytest.approx(
            functional.nss(prior, points, ddof=0).item(), abs=2e-6
        )
        assert float(tuebingen[row]["IG"]) == pytest.approx(0, abs=1e-6)  # the center prior is the baseline
        assert tuebingen[row]["sAUC"] == exact[row]["sAUC"]


def test_two_processes_score_what_one_does_under_every_profile(run):
    _, alone = run("exact", "mit", "tuebingen")
    _, both = run("exact", "mit", "tuebingen", devices=2, strategy="ddp_fork")
    for name in ("per_image.csv", "per_image_mit.csv", "per_image_tuebingen.csv"):
        expected, found = (
            {(row["model"], row["image"]): row for row in rows_of(folder / name)} for folder in (alone, both)
        )
        assert found == expected, name
    for name in ("scores.md", "scores_mit.md", "scores_tuebingen.md"):
        assert (alone / name).read_text() == (both / name).read_text()


def test_a_column_of_fewer_images_than_the_others_is_named(run, salicon, capsys):
    write_gaze(salicon.root / f"fixations/val/{stem('val', 2)}.mat", [np.array([[5, 5]], dtype=np.uint16)])
    _, folder = run("mit")
    said = "scored on fewer than 4 images: AUC-Borji 3"
    assert said in (folder / "scores_mit.md").read_text()
    assert said in capsys.readouterr().out


def test_another_profile_alone_leaves_no_table_of_the_exact_one(run):
    _, folder = run("mit")
    assert not (folder / "scores.md").exists()
    assert (folder / "scores_mit.md").is_file()


def test_the_report_keeps_profiles_apart(run):
    _, folder = run("exact", "tuebingen")
    about = json.loads((folder / "scores.json").read_text())
    tables = read_tables([Run(folder, record={}, config={}, about=about, label="a")])
    assert ["profile exact" in table.title for table in tables] == [True, False]
    assert list(tables[1].columns) == ["IG", "AUC", "sAUC", "NSS", "CC", "KLD", "SIM"]
    name = rows_of(folder / "per_image.csv")[0]["model"]
    assert [table.markdown(spread=False).replace("| a |", f"| {name} |") for table in tables] == [
        (folder / name).read_text().partition("\n\n")[2].rstrip()
        for name in ("scores.md", "scores_tuebingen.md")
    ]


def test_an_unknown_profile_is_refused_at_once(vit_file):
    with pytest.raises(ValueError, match="one or several of exact, mit, tuebingen"):
        SaliencyModule(vit=vit_file(), profile="judd")
    with pytest.raises(ValueError, match="one or several"):
        SaliencyModule(vit=vit_file(), profile=[])


def test_the_classical_model_is_a_third_baseline(make_trainer, tmp_path, vit_file, salicon, monkeypatch):
    monkeypatch.setattr("salvit.callbacks.scores.has_classical", lambda: True)
    monkeypatch.setattr("salvit.callbacks.scores.spectral_residual", lambda image: image[0])
    logger = CSVLogger(tmp_path, name="run", version="")
    module = SaliencyModule(vit=vit_file())
    make_trainer(logger=logger, callbacks=[Scores()]).test(module, salicon, verbose=False)
    images = rows_of(tmp_path / "run/per_image.csv")
    assert [row["model"] for row in images[::4]] == [
        module.model_name,
        "center prior",
        "random",
        "spectral residual",
        "inter-observer",
    ]
    sample = salicon.dataset("test")[2]
    red = torch.nn.functional.interpolate(sample["image"][None, :1], sample["size"], mode="bilinear")[0]
    assert float(images[14]["CC"]) == pytest.approx(
        functional.cc(red, sample["density"][None]).item(), abs=2e-6
    )


def test_what_is_left_out_is_said(run, capsys):
    run("exact")
    remedy = "it needs OpenCV's contributed modules (pip install 'salvit[baselines]')"
    assert f"spectral residual is left out: {remedy}" in capsys.readouterr().out


def test_the_row_of_people_can_be_left_out(make_trainer, tmp_path, vit_file, salicon):
    logger = CSVLogger(tmp_path, name="run", version="")
    trainer = make_trainer(logger=logger, callbacks=[Scores(held_out=0)])
    trainer.test(SaliencyModule(vit=vit_file()), salicon, verbose=False)
    assert "inter-observer" not in (tmp_path / "run/scores.md").read_text()


def test_people_are_scored_on_fixations_alone_and_are_never_bold(run):
    trainer, folder = run("exact")
    (row,) = [line for line in (folder / "scores.md").read_text().splitlines() if "inter-observer" in line]
    assert [cell.strip() == "–" for cell in row.split("|")[2:-1]] == [True, False, True, True, False, False]
    assert "**" not in row
    assert "test/inter-observer/NSS" in trainer.callback_metrics
    images = rows_of(folder / "per_image.csv")[-4:]
    assert all(image["model"] == "inter-observer" and image["NSS"] and not image["CC"] for image in images)
