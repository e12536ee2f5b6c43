import csv
import json

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from datamodules import ClassFolderDataModule, CUB200DataModule, TinyImageNetDataModule
from salvit.callbacks.classification_scores import SCORES, ClassificationScores
from salvit.extractors import AttentionGradient, Rollout
from salvit.metrics.functional import box_masks, smm
from salvit.modules import ClassificationModule
from salvit.vit import normalize
from tests.datamodules.data.cub import make_cub
from tests.datamodules.data.images import write_image
from tests.datamodules.data.tiny_imagenet import make_tiny_imagenet
from tests.tiny import tiny_popout

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 4}


@pytest.fixture
def popout():
    """So many displays that every class is in both splits."""
    return tiny_popout(train_size=60, test_size=60, batch_size=25)


@pytest.fixture
def module():
    torch.manual_seed(0)
    module = ClassificationModule(10, vit=SMALL)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module


def score(make_trainer, tmp_path, module, data, callback=None):
    """Scores logged, scores.json, rows of images, and the table."""
    logger = CSVLogger(tmp_path, name="run", version="")
    trainer = make_trainer(logger=logger, callbacks=[callback or ClassificationScores()])
    trainer.test(module, data, verbose=False)
    with (tmp_path / "run/per_image.csv").open() as file:
        images = list(csv.DictReader(file))
    about = json.loads((tmp_path / "run/scores.json").read_text())
    return trainer.callback_metrics, about, images, (tmp_path / "run/scores.md").read_text()


def stacked(module, data, split):
    samples = [data.dataset(split)[index] for index in range(len(data.dataset(split)))]
    images = torch.stack([sample["image"] for sample in samples])
    labels = torch.tensor([sample["label"] for sample in samples])
    with torch.no_grad():
        return samples, images, labels, module.eval()(images)


def by_class(labels, predicted, probabilities):
    """Means over the classes, each class counted by hand."""
    scores = []
    for kind in range(10):
        is_kind, is_predicted = labels == kind, predicted == kind
        assert is_kind.any()
        hits = (is_kind & is_predicted).sum()
        recall, precision = hits / is_kind.sum(), hits / max(is_predicted.sum(), 1)
        f1 = 2 * hits / (is_kind.sum() + is_predicted.sum())
        of_kind, of_others = probabilities[is_kind, kind][:, None], probabilities[~is_kind, kind]
        auc = ((of_kind > of_others) + (of_kind == of_others) / 2).mean()
        scores.append((recall, precision, f1, auc))
    return dict(zip(("recall", "precision", "F1", "ROC AUC"), np.mean(scores, axis=0), strict=True))


def test_every_score_is_what_it_is_called(make_trainer, tmp_path, module, popout):
    logged, about, images, table = score(make_trainer, tmp_path, module, popout)
    samples, pixels, labels, logits = stacked(module, popout, "test")
    predicted = logits.argmax(1)
    assert len(predicted.unique()) > 2
    maps = AttentionGradient()(module.vit, normalize(module.vit, pixels), labels)[:, 0]
    of_images = smm(maps, [sample["mask"] for sample in samples])
    _, _, train_labels, train_logits = stacked(module, popout, "train")
    expected = {
        "train accuracy": float((train_logits.argmax(1) == train_labels).float().mean()),
        "accuracy": float((predicted == labels).float().mean()),
        **by_class(labels.numpy(), predicted.numpy(), logits.softmax(1).numpy()),
        "SMM": float(of_images.mean()),
    }
    assert list(about["scores"]) == list(SCORES)
    assert about["scores"] == pytest.approx(expected, abs=1e-6)
    for name, value in expected.items():
        assert float(logged[f"test/{name}"]) == pytest.approx(value, abs=1e-6)
        assert f" {value:.3f}" in table or f"**{value:.3f}**" in table
    assert [float(row["SMM"]) for row in images] == pytest.approx(of_images.tolist(), abs=1e-6)
    assert [int(row["predicted"]) for row in images] == predicted.tolist()
    assert [int(row["label"]) for row in images] == labels.tolist()
    assert "| SMM, exact masks ↑ |" in table
    assert about["masks"] == "exact masks"


@pytest.mark.parametrize("name", ["CUB-200-2011", "Tiny ImageNet"])
def test_masks_from_boxes(make_trainer, tmp_path, name):
    """Filled in here, or by the datamodule."""
    size = {"image_size": 32, "batch_size": 2, "num_workers": 0}
    if name == "Tiny ImageNet":
        root = make_tiny_imagenet(tmp_path / "data")
        data = TinyImageNetDataModule(root, classes=2, test_images=2, **size)
    else:
        data = CUB200DataModule(make_cub(tmp_path / "data", segmentations=None), **size)
    torch.manual_seed(0)
    module = ClassificationModule(len(data.class_names), vit=SMALL)
    _, about, _, table = score(make_trainer, tmp_path, module, data, ClassificationScores("rollout"))
    samples = [data.dataset("test")[index] for index in range(len(data.dataset("test")))]
    pixels = torch.stack([sample["image"] for sample in samples])
    maps = Rollout()(module.eval().vit, normalize(module.vit, pixels))[:, 0]
    masks = box_masks([sample["boxes"] for sample in samples], (32, 32))
    assert about["scores"]["SMM"] == pytest.approx(float(smm(maps, masks).mean()))
    assert "SMM of rollout, masks from boxes" in table
    assert about["method"] == "rollout"


def test_without_masks_the_rest_is_scored(make_trainer, tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            write_image(tmp_path / f"data/{split}/{name}/0.png", (20, 30))
    data = ClassFolderDataModule(tmp_path / "data", image_size=32, batch_size=2, num_workers=0)
    callback = ClassificationScores()
    for _ in range(2):  # a second test begins anew
        module = ClassificationModule(2, vit=SMALL)
        _, about, images, table = score(make_trainer, tmp_path, module, data, callback)
    assert about["scores"]["accuracy"] == 0.5
    assert about["scores"]["SMM"] is None
    assert "SMM, no masks" in table
    assert " – |" in table
    assert [row["SMM"] for row in images] == ["", ""]


def test_constant_heatmaps_are_counted(make_trainer, tmp_path, module, popout):
    for block in module.vit.blocks:
        block.attn.proj.weight.data.zero_()  # so that no attention has a gradient
    _, about, images, table = score(make_trainer, tmp_path, module, popout)
    assert (about["constant"], about["scores"]["SMM"]) == (60, 0)
    assert "exact masks, 60 heatmaps constant (SMM 0)" in table
    assert {row["constant"] for row in images} == {"True"}


def test_the_method_must_suit_the_model(make_trainer, popout):
    module = ClassificationModule(10, vit={**SMALL, "residual": False})
    trainer = make_trainer(callbacks=[ClassificationScores("agcam")])
    with pytest.raises(ValueError, match="no residual connections"):
        trainer.test(module, popout, verbose=False)
