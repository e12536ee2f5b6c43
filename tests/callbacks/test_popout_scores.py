import csv
from datetime import timedelta

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from datamodules import P3O3DataModule
from salvit.callbacks.popout import PopOutScores
from salvit.metrics.functional import popout
from salvit.modules import SaliencyModule
from tests.datamodules.data.p3o3 import DISTRACTORS, TARGET, make_p3o3, rectangles


@pytest.fixture
def data(tmp_path):
    root = make_p3o3(tmp_path / "p3o3")
    return P3O3DataModule(root, image_size=32, batch_size=1, num_workers=0)


@pytest.fixture
def module(vit_file):
    torch.manual_seed(0)
    return SaliencyModule(vit=vit_file())


def predict(make_trainer, module, data, folder, **options):
    trainer = make_trainer(callbacks=[PopOutScores(str(folder), limit=30)], **options)
    predictions = trainer.predict(module, data, return_predictions=not options)
    with (folder / "popout.csv").open() as file:
        return predictions, list(csv.DictReader(file)), (folder / "popout.md").read_text()


def test_scores_are_those_of_the_predictions(make_trainer, module, data, tmp_path):
    predictions, rows, table = predict(make_trainer, module, data, tmp_path / "new")
    target, distractors = torch.from_numpy(rectangles(TARGET)), torch.from_numpy(rectangles(*DISTRACTORS))
    names = [stimulus.name for stimulus in data.dataset("predict").stimuli]
    assert [row["image"] for row in rows] == names
    maps = [saliency for batch in predictions for saliency in batch]
    scores = popout(torch.stack(maps), [target] * 5, [distractors] * 5, limit=30)
    for row, expected in zip(rows, scores.tolist(), strict=True):
        assert [float(row[name]) for name in list(row)[2:]] == pytest.approx(expected, abs=1e-5)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    assert [line[0] for line in lines[2:]] == [
        *("O3 colour+shape", "O3 size", "P3 colour", "P3 orientation", "P3 size", "all")
    ]
    assert [float(cell) for cell in lines[-1][1:]] == pytest.approx(scores.mean(0).tolist(), abs=6e-4)
    assert table.startswith("5 images, 0 without scores, fixations up to 30\n")


def test_a_second_prediction_starts_anew_in_the_folder_of_the_run_and_masks_are_needed(
    make_trainer, module, data, popout, tmp_path
):
    trainer = make_trainer(callbacks=[PopOutScores()], logger=CSVLogger(tmp_path, "popout"))
    for _ in range(2):
        trainer.predict(module, data)
        assert len((tmp_path / "popout/version_0/popout.csv").read_text().splitlines()) == 1 + 5
    with pytest.raises(ValueError, match="needs masks of targets and distractors"):
        trainer.predict(module, popout)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 6])
def test_processes_change_nothing(make_trainer, module, data, tmp_path, processes):
    _, rows, table = predict(make_trainer, module, data, tmp_path / "one")
    fork = DDPStrategy(process_group_backend="gloo", start_method="fork", timeout=timedelta(seconds=60))
    _, others, other = predict(
        make_trainer, module, data, tmp_path / "several", devices=processes, strategy=fork
    )
    assert sorted(tuple(row.items()) for row in others) == sorted(tuple(row.items()) for row in rows)
    assert other == table
