import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from salvit.callbacks.attention_panel import AttentionPanel
from salvit.extractors import AttentionGradient
from salvit.modules import ClassificationModule
from tests.tiny import tiny_popout

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 4}


def fit(make_trainer, panel, **options):
    torch.manual_seed(0)
    module = ClassificationModule(10, vit=SMALL, warmup_epochs=0, lr=0.01)
    trainer = make_trainer(callbacks=[panel] if panel else [], limit_val_batches=0, **options)
    trainer.fit(module, tiny_popout(val_size=7))
    return module


@pytest.mark.parametrize(("epochs", "every", "drawn"), [(5, 2, [0, 2, 4]), (4, 3, [0, 3]), (3, 9, [0, 2])])
def test_a_panel_every_few_epochs_and_at_the_end(make_trainer, tmp_path, epochs, every, drawn):
    fit(make_trainer, AttentionPanel(count=3, every=every), max_epochs=epochs)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [f"epoch_{epoch:03d}.png" for epoch in drawn]


def test_a_panel_of_the_epoch_at_which_training_stops_early(make_trainer, tmp_path):
    class Stopping(AttentionPanel):
        def on_train_epoch_start(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 1

    fit(make_trainer, Stopping(count=3, every=9), max_epochs=5)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "epoch_000.png",
        "epoch_001.png",
    ]


def test_images_stay_and_heatmaps_change(make_trainer, tmp_path):
    fit(make_trainer, AttentionPanel(count=3, every=1), max_epochs=2)
    first, second = (
        np.asarray(Image.open(tmp_path / f"pictures/epoch_{epoch:03d}.png")).astype(int) for epoch in (0, 1)
    )
    half = first.shape[0] // 2
    assert np.array_equal(first[:half], second[:half])
    assert not np.array_equal(first[half:], second[half:])


def test_panels_reach_wandb(make_trainer, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, key, images: logged.append((key, *images)))
    fit(make_trainer, AttentionPanel(count=3), logger=WandbLogger(save_dir=tmp_path))
    [(key, picture)] = logged
    assert key == "val/attention"
    assert picture.width > picture.height


def test_a_method_that_the_model_does_not_support_is_refused_before_training(make_trainer):
    module = ClassificationModule(10, vit={**SMALL, "residual": False})
    trainer = make_trainer(callbacks=[AttentionPanel(method="agcam")], limit_val_batches=0)
    with pytest.raises(ValueError, match="agcam"):
        trainer.fit(module, tiny_popout())
    assert trainer.global_step == 0


def test_training_is_as_without_it(make_trainer):
    plain, drawn = (fit(make_trainer, panel, max_epochs=3) for panel in (None, AttentionPanel(every=1)))
    assert drawn.vit.training
    for one, other in zip(plain.parameters(), drawn.parameters(), strict=True):
        assert torch.equal(one, other)


def test_each_class_of_a_sorted_split_has_an_image(make_trainer, monkeypatch):
    asked = []
    dataset = type(tiny_popout().dataset("val"))
    original = dataset.__getitem__
    monkeypatch.setattr(
        dataset, "__getitem__", lambda self, index: asked.append(index) or original(self, index)
    )
    explained = []
    monkeypatch.setattr(
        AttentionGradient,
        "_maps",
        lambda self, vit, images, target: (
            explained.extend(target.tolist()) or torch.rand(len(images), 1, 4, 4)
        ),
    )
    fit(make_trainer, AttentionPanel(count=3), max_epochs=1)
    assert asked == [0, 2, 4]
    samples = [original(tiny_popout(val_size=7).dataset("val"), index) for index in asked]
    assert explained == [sample["label"] for sample in samples]
    asked.clear()
    fit(make_trainer, AttentionPanel(count=50), max_epochs=1)
    assert asked == list(range(7))
