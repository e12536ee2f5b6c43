from datetime import timedelta

import pandas as pd
import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image

from salvit.callbacks.explanation_scores import ExplanationScores
from salvit.callbacks.sanity import SanityChecks
from salvit.metrics import (
    CC,
    ParameterRandomisation,
    RandomLogit,
    SmoothParameterRandomisation,
)
from salvit.modules import ExplanationModule
from tests.tiny import tiny_popout


@pytest.fixture
def run(make_trainer, vit_file, tmp_path):
    def test(scores, callback, results=None):
        module = ExplanationModule(vit_file(), extractors=["random", "agcam"], scores=scores, results=results)
        trainer = make_trainer(callbacks=[ExplanationScores(), callback], default_root_dir=tmp_path)
        trainer.test(module, tiny_popout(test_size=5), verbose=False)
        return module

    return test


def checks():
    return [ParameterRandomisation(), SmoothParameterRandomisation(samples=2), RandomLogit()]


def test_methods_that_fail_are_named_and_curves_are_written(run, tmp_path, capsys):
    module = run(checks(), SanityChecks(), tmp_path / "results")
    text = (tmp_path / "sanity.md").read_text()
    assert text.strip() in capsys.readouterr().out
    *table, blocks, parameters, efficient, _, logit = text.strip().splitlines()
    assert blocks.startswith("parameter randomisation, block by block (rank correlation ≥ 0.5")
    assert "failed by random" in blocks
    assert parameters.startswith("parameter randomisation, all weights (rank correlation ≥ 0.5")
    assert "failed by random" in parameters
    assert "failed by random" in efficient
    assert "failed by random" in logit
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if line.startswith("|")]
    assert rows[0] == ["method", "MPRT", "MPRT_last", "eMPRT", "sMPRT_last", "random_logit", "fails"]
    assert rows[2][:4] == ["random", "1.000", "1.000", "0.000"]
    curves = pd.read_csv(tmp_path / "sanity.csv").set_index(["method", "score"])
    assert list(curves.loc[("agcam", "MPRT"), "part"]) == ["head", "block 1", "block 0", "embedding"]
    assert list(curves.loc[("agcam", "sMPRT"), "part"]) == ["embedding", "block 0", "block 1", "head"]
    scores = pd.read_csv(tmp_path / "scores.csv").set_index(["method", "score"])["mean"]
    assert curves.loc[("agcam", "MPRT"), "correlation"].mean() == pytest.approx(
        scores["agcam", "MPRT"], abs=1e-5
    )
    assert Image.open(tmp_path / "sanity.png").width > 1000
    # Cached results make the same tables.
    again = run(checks(), SanityChecks(), tmp_path / "results")
    assert (tmp_path / "sanity.md").read_text() == text
    assert again.about == module.about


def test_the_limits_decide(run, tmp_path):
    run([RandomLogit()], SanityChecks(classes=-1.0))
    assert "failed by random, agcam" in (tmp_path / "sanity.md").read_text()
    assert not (tmp_path / "sanity.csv").exists()
    with pytest.raises(ValueError, match="classes is a rank correlation"):
        SanityChecks(classes=2.0)


def test_a_run_without_a_check_is_an_error(run):
    with pytest.raises(ValueError, match=r"SanityChecks needs ParameterRandomisation, .*sanity\.yaml"):
        run([CC()], SanityChecks())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_processes_change_nothing(make_trainer, vit_file, tmp_path):
    def written(processes):
        fork = DDPStrategy(process_group_backend="gloo", start_method="fork", timeout=timedelta(seconds=60))
        options = {"devices": processes, "strategy": fork} if processes > 1 else {}
        scores = [ParameterRandomisation(), RandomLogit()]
        module = ExplanationModule(vit_file(), extractors=["random", "agcam"], scores=scores)
        folder = tmp_path / str(processes)
        logger = CSVLogger(folder, name="run", version="")
        trainer = make_trainer(callbacks=[ExplanationScores(), SanityChecks()], logger=logger, **options)
        trainer.test(module, tiny_popout(test_size=3, batch_size=1), verbose=False)
        return (folder / "run/sanity.md").read_text(), (folder / "run/sanity.csv").read_text()

    one = written(1)
    assert written(2) == one
