import json
from importlib.util import find_spec

import numpy as np
import pandas as pd
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
    root = make_salicon(tmp_path / "salicon", train=3, val=4)
    return SaliconDataModule(root, image_size=32, batch_size=2, num_workers=0)


@pytest.fixture
def run(make_trainer, tmp_path, vit_file, salicon, monkeypatch):
    """Tests a model under some profiles; returns the trainer and the log folder."""
    monkeypatch.setattr("salvit.callbacks.scores.has_classical", lambda: False)

    def test(*profiles, scores=None, **options):
        vit = vit_file()  # which may draw weights
        torch.manual_seed(0)
        module = SaliencyModule(vit=vit, profile=list(profiles))
        logger = CSVLogger(tmp_path, name="run", version="_".join([*profiles, *options]))
        trainer = make_trainer(logger=logger, callbacks=[scores or Scores()], **options)
        trainer.test(module, salicon, verbose=False)
        return trainer, tmp_path / "run" / logger.version

    return test


def images_of(folder, suffix=""):
    return pd.read_csv(folder / f"per_image{suffix}.csv").set_index(["model", "image"])


def test_every_profile_has_a_table_and_a_file_of_images_and_its_own_part_of_a_report(run, salicon, capsys):
    trainer, folder = run("exact", "mit", "tuebingen")
    printed = capsys.readouterr().out
    about = json.loads((folder / "scores.json").read_text())
    compared = read_tables([Run(folder, record={}, config={}, about=about, label="a")])
    reported = [one.table for one in compared]
    tables = {}
    for report, suffix, profile, columns in zip(
        reported,
        ("", "_mit", "_tuebingen"),
        ("exact", "mit", "tuebingen"),
        (["CC", "NSS", "SIM", "KLD", "sAUC", "AUC"], MIT, ["IG", "AUC", "sAUC", "NSS", "CC", "KLD", "SIM"]),
        strict=True,
    ):
        written = (folder / f"scores{suffix}.md").read_text()
        title, _, header, *_ = written.splitlines()
        assert f"profile {profile} (" in title
        assert f"profile {profile}" in report.title
        assert f"profile {profile}" in printed
        assert all(name in header for name in columns)
        images = tables[profile] = images_of(folder, suffix)
        assert list(images.columns) == list(report.columns) == columns
        assert len(images) == 4 * 4
        [name, *_] = images.index.get_level_values("model")
        lines = report.markdown(spread=False).replace("| a |", f"| {name} |").splitlines()
        in_report = "\n".join(line for line in lines if ", published |" not in line)
        assert in_report == written.partition("\n\n")[2].rstrip()
        prefix = "" if profile == "exact" else f"{profile}/"
        for column, mean in images[:4].mean().items():
            assert float(trainer.callback_metrics[f"test/{prefix}{column}"]) == pytest.approx(mean, abs=2e-6)
    prior = salicon.center_prior((48, 64))[None]
    mit, tuebingen = (tables[profile].loc["center prior"] for profile in ("mit", "tuebingen"))
    for index in range(4):
        points = [salicon.dataset("test")[index]["fixations"]]
        expected = functional.nss(prior, points, duplicates=False), functional.nss(prior, points, ddof=0)
        found = mit["NSS"].iloc[index], tuebingen["NSS"].iloc[index]
        assert found == pytest.approx([score.item() for score in expected], abs=2e-6)
    assert tuebingen["IG"].tolist() == pytest.approx([0] * 4, abs=1e-6)  # the center prior is the baseline
    assert tables["tuebingen"]["sAUC"].equals(tables["exact"]["sAUC"])
    # Two processes write the same.
    _, both = run("exact", "mit", "tuebingen", devices=2, strategy="ddp_fork")
    for suffix in ("", "_mit", "_tuebingen"):
        found, expected = (images_of(one, suffix).sort_index() for one in (both, folder))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert (folder / f"scores{suffix}.md").read_text() == (both / f"scores{suffix}.md").read_text()


def test_a_profile_alone_and_a_column_of_fewer_images_than_the_others(run, salicon, capsys):
    write_gaze(salicon.root / f"fixations/val/{stem('val', 2)}.mat", [np.array([[5, 5]], dtype=np.uint16)])
    _, folder = run("mit")
    said = "scored on fewer than 4 images: AUC-Borji 3"
    assert said in (folder / "scores_mit.md").read_text()
    assert said in capsys.readouterr().out
    assert not (folder / "scores.md").exists()


@pytest.mark.parametrize("profile", ["judd", []])
def test_an_unknown_profile_is_refused_at_once(vit_file, profile):
    with pytest.raises(ValueError, match="one or several of exact, mit, tuebingen"):
        SaliencyModule(vit=vit_file(), profile=profile)


def test_the_classical_model_is_a_third_baseline(run, salicon, monkeypatch):
    monkeypatch.setattr("salvit.callbacks.scores.has_classical", lambda: True)
    monkeypatch.setattr("salvit.callbacks.scores.spectral_residual", lambda image: image[0])
    trainer, folder = run("exact")
    images = images_of(folder)
    own, *others = images.index.get_level_values("model")[::4]
    assert own == trainer.lightning_module.model_name
    assert others == ["center prior", "random", "spectral residual", "inter-observer"]
    sample = salicon.dataset("test")[2]
    red = torch.nn.functional.interpolate(sample["image"][None, :1], sample["size"], mode="bilinear")[0]
    expected = functional.cc(red, sample["density"][None]).item()
    assert images["CC"].iloc[14] == pytest.approx(expected, abs=2e-6)


def test_people_are_scored_on_fixations_alone_are_never_bold_and_can_be_left_out(run, capsys):
    trainer, folder = run("exact")
    remedy = "it needs OpenCV's contributed modules (pip install 'salvit[baselines]')"
    assert f"spectral residual is left out: {remedy}" in capsys.readouterr().out
    (row,) = [line for line in (folder / "scores.md").read_text().splitlines() if "inter-observer" in line]
    assert [cell.strip() == "–" for cell in row.split("|")[2:-1]] == [True, False, True, True, False, False]
    assert "**" not in row
    assert "test/inter-observer/NSS" in trainer.callback_metrics
    people = images_of(folder).loc["inter-observer"]
    assert people["NSS"].notna().all()
    assert people["CC"].isna().all()
    _, folder = run("exact", scores=Scores(held_out=0))
    assert "inter-observer" not in (folder / "scores.md").read_text()
