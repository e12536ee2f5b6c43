"""Predictions of fitted models beside people's fixations."""

import numpy as np
import pytest
import torch
from PIL import Image

import salvit
from datamodules import OSIEDataModule
from salvit.modules import SaliencyModule
from salvit.report.beside import beside, main
from salvit.report.pictures import overlay
from tests.datamodules.data.osie import make_osie
from tests.tiny import quiet_trainer, tiny_popout

CELL = (267, 200)  # 40×30 pixels, scaled to the height of a row


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_osie(tmp_path_factory.mktemp("osie"))


@pytest.fixture(scope="module")
def checkpoint(root, vit_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    trainer = quiet_trainer(folder, limit_val_batches=0)
    data = OSIEDataModule(root / "moved", image_size=32, num_workers=0)
    data._root = root
    trainer.fit(SaliencyModule(vit=vit_file(), warmup_epochs=0), data)
    trainer.save_checkpoint(folder / "a.ckpt")
    return folder / "a.ckpt"


def test_every_column_is_what_its_title_says(root, checkpoint):
    model = salvit.load_saliency(checkpoint)
    dataset = OSIEDataModule(root, image_size=32, num_workers=0).dataset("val")
    picture = beside({"mine": model, "again": model}, dataset, count=1)
    height = picture.height - CELL[1] - 6
    shown = [
        np.asarray(picture.crop((x, height, x + 266, height + 200)), int) for x in range(0, 4 * 272, 272)
    ]
    with Image.open(dataset.stimuli[0].image) as file:
        photograph = file.convert("RGB")
    pixels = torch.from_numpy(np.array(photograph)).movedim(-1, 0) / 255
    expected = [photograph, None, *[overlay(pixels, model(photograph))] * 2]
    for column, one in zip(shown, expected, strict=True):
        if one is not None:
            resized = one.resize((266, 200), Image.Resampling.BICUBIC)
            assert np.abs(column - np.asarray(resized, int)).mean() < 2
    x, y = (dataset.fixations(0)[-1] * 200 / 30).round().int().tolist()
    assert shown[1][y, x].min() > 200  # a white dot, the last one drawn


def test_the_command(root, checkpoint, tmp_path, capsys):
    out = tmp_path / "new/beside.jpg"
    options = ["--root", str(root), "--images", "2", "--out", str(out)]
    main([f"mine={checkpoint}", *options])
    assert str(out) in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.size == (3 * 266 + 2 * 6, 22 + 2 * 206)


def test_what_is_typed_wrongly(root, checkpoint, vit_file, tmp_path, capsys):
    for typed, status, message in (
        ([str(checkpoint)], 2, "expected NAME=CHECKPOINT"),
        ([f"a={tmp_path / 'none.ckpt'}"], 1, "no checkpoint"),
        ([f"a={checkpoint}"], 1, "no such folder"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main([*typed, "--out", str(tmp_path / "a.jpg")])
        assert exit_.value.code == status
        assert message in capsys.readouterr().err
    trainer = quiet_trainer(tmp_path, limit_val_batches=0)
    trainer.fit(SaliencyModule(vit=vit_file(), warmup_epochs=0), tiny_popout())
    trainer.save_checkpoint(tmp_path / "popout.ckpt")
    with pytest.raises(SystemExit):
        main([f"a={tmp_path / 'popout.ckpt'}", "--out", str(tmp_path / "a.jpg")])
    assert "not fitted on a dataset on disk" in capsys.readouterr().err
