"""Scores and predictions do not depend on how many processes the images are divided among, nor how evenly."""

import csv
import json
from datetime import timedelta

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from datamodules import SaliconDataModule
from salvit.callbacks.classification_scores import ClassificationScores
from salvit.callbacks.kept_maps import KeptMaps
from salvit.callbacks.pictures import Pictures
from salvit.callbacks.predictions import PredictionWriter
from salvit.callbacks.scores import Scores
from salvit.extractors import SalientAttention
from salvit.modules import ClassificationModule, SaliencyModule
from tests.datamodules.data.salicon import make_salicon, stem, write_gaze
from tests.tiny import tiny_popout


class Run:
    """One stage of a run on a number of processes, and what it left behind."""

    def __init__(self, make_trainer, folder, module, data, stage, processes):
        # A process that waits for a call that the others never make fails within the minute.
        fork = DDPStrategy(process_group_backend="gloo", start_method="fork", timeout=timedelta(seconds=60))
        options = {"devices": processes, "strategy": fork} if processes > 1 else {}
        writer = PredictionWriter(str(folder / "maps"), kinds=["npy"])
        of_saliency = isinstance(module, SaliencyModule)
        callbacks = [Scores(), Pictures(), KeptMaps(), writer] if of_saliency else [ClassificationScores()]
        logger = CSVLogger(folder, name="run", version="")
        self.trainer = make_trainer(logger=logger, callbacks=callbacks, **options)
        arguments = {"predict": {"return_predictions": False}, "fit": {}}.get(stage, {"verbose": False})
        getattr(self.trainer, stage)(module, data, **arguments)
        self.folder = folder

    def scores(self):
        return {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    def maps(self):
        return {path.stem: np.load(path) for path in (self.folder / "maps").glob("*.npy")}

    def rows(self):
        with (self.folder / "run/per_image.csv").open() as file:
            return sorted(tuple(row.items()) for row in csv.DictReader(file))

    def kept(self):
        files = [json.loads((self.folder / f"run/{name}.json").read_text()) for name in ("maps", "attention")]
        return [[(one["name"], list(one["maps"])) for one in file["images"]] for file in files]


@pytest.fixture
def data(tmp_path):
    """So many labelled images, on the second of which nobody looked.

    One in a batch: a network rounds differently in batches of different sizes.
    """

    def make(images):
        root = make_salicon(tmp_path / "salicon", train=2, val=images)
        if images > 1:
            write_gaze(root / f"fixations/val/{stem('val', 2)}.mat", [])
        return SaliconDataModule(root, image_size=32, batch_size=1, num_workers=0)

    return make


@pytest.fixture
def compare(make_trainer, tmp_path):
    def run_both(module, data, stage, processes):
        return [
            Run(make_trainer, tmp_path / str(count), module, data, stage, count) for count in (1, processes)
        ]

    return run_both


def check(one, several, stage, images):
    if stage == "predict":
        expected, found = one.maps(), several.maps()
        assert len(expected) == images
        assert found.keys() == expected.keys()
        assert all(np.allclose(found[name], expected[name], rtol=0, atol=1e-6) for name in expected)
        return
    scores = one.scores()
    assert several.scores() == pytest.approx(scores, abs=1e-6, nan_ok=True)
    split = "val" if stage == "validate" else "test"
    assert {f"{split}/CC", f"{split}/sAUC"} <= scores.keys()
    assert images <= 2 or not any(np.isnan(value) for value in scores.values())
    if stage == "test":
        assert several.rows() == one.rows()
        assert several.kept() == one.kept()
        assert [len(file) for file in one.kept()] == [images, min(images, 4)]
        models = {dict(row)["model"] for row in one.rows()}
        assert models >= {"center prior", "random"}
        assert len(one.rows()) == len(models) * images


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
@pytest.mark.parametrize(
    ("images", "processes"),
    [(2, 3), *(pytest.param(*counts, marks=pytest.mark.slow) for counts in [(1, 3), (3, 3), (5, 2)])],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_processes_change_nothing(compare, data, vit_file, stage, images, processes):
    torch.manual_seed(0)
    check(*compare(SaliencyModule(vit=vit_file()), data(images), stage, processes), stage, images)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"cache_maps": True}, {"extractor": SalientAttention(k=2)}])
def test_a_process_without_images_extracts_nothing(compare, data, vit_file, options):
    torch.manual_seed(0)
    check(*compare(SaliencyModule(vit=vit_file(), **options), data(1), "validate", 2), "validate", 1)


@pytest.mark.slow
def test_fit_with_fewer_images_to_validate_on_than_processes(make_trainer, tmp_path, data, vit_file):
    torch.manual_seed(0)
    run = Run(make_trainer, tmp_path, SaliencyModule(vit=vit_file(), warmup_epochs=0), data(1), "fit", 2)
    assert {"val/CC", "val/NSS"} <= run.scores().keys()
    assert np.isfinite(run.scores()["val/CC"])


@pytest.mark.parametrize("stage", [pytest.param("validate", marks=pytest.mark.slow), "test"])
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_classification(compare, vit_file, stage):
    torch.manual_seed(0)
    module = ClassificationModule(num_classes=10, vit=vit_file())
    one, several = compare(module, tiny_popout(val_size=2, test_size=2, batch_size=2), stage, 3)
    assert stage == "validate" or several.rows() == one.rows()
    assert several.scores() == pytest.approx(one.scores(), abs=1e-6)
