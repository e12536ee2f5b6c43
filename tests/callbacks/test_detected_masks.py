from functools import partial

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

from datamodules import ClassFolderDataModule
from salvit.callbacks import detected_masks
from salvit.callbacks.classification_scores import ClassificationScores
from salvit.callbacks.detected_masks import CATEGORIES, DetectedMasks
from salvit.modules import ClassificationModule
from tests.datamodules.data.images import write_image
from tests.tiny import tiny_popout

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 4}
SIZE = (40, 60)


@pytest.fixture
def data(tmp_path):
    """Two cats and a lorry to test on, at 40×60 pixels."""
    for index, name in enumerate(("train/cat/a", "train/lorry/a", "val/cat/a", "val/cat/b", "val/lorry/c")):
        write_image(tmp_path / f"data/{name}.png", SIZE, seed=index)
    return ClassFolderDataModule(tmp_path / "data", image_size=32, batch_size=2, num_workers=0)


@pytest.fixture
def make(tmp_path):
    """Masks by a detector whose file nobody reads."""
    (tmp_path / "detector.pth").write_bytes(b"weights")
    defaults = {"categories": {"lorry": "truck"}, "cache": str(tmp_path / "masks")}
    return lambda **options: DetectedMasks(str(tmp_path / "detector.pth"), **{**defaults, **options})


def detection(*instances):
    """What torchvision's detector gives: (category, score, columns of the mask) of each instance."""
    masks = torch.zeros(len(instances), 1, *SIZE)
    for index, (_, _, columns) in enumerate(instances):
        masks[index, 0, :, columns] = 0.9
    return {
        "labels": torch.tensor([CATEGORIES.index(one[0]) for one in instances], dtype=torch.int64),
        "scores": torch.tensor([one[1] for one in instances]),
        "masks": masks,
    }


class Detector(torch.nn.Module):
    """Gives what it is told, and keeps what it is shown."""

    def __init__(self, *detections):
        super().__init__()
        self.detections, self.shown = list(detections), []

    def forward(self, images):
        self.shown.append(images[0])
        return [self.detections[len(self.shown) - 1]]


@pytest.fixture
def detector(monkeypatch):
    def install(*detections):
        made = Detector(*detections)
        monkeypatch.setattr(detected_masks, "load_detector", lambda path: made)
        return made

    return install


def masks_of(masks, data):
    masks.prepare(data)
    return [mask for batch in data.test_dataloader() for mask in masks(data, batch)]


FOUND = (
    detection(("cat", 0.8, slice(0, 30)), ("dog", 0.99, slice(0, 60)), ("cat", 0.9, slice(30, 60))),
    detection(("cat", 0.4, slice(0, 30)), ("dog", 0.99, slice(0, 60))),
    detection(("truck", 0.6, slice(0, 15))),
)


def test_the_best_instance_of_the_label_at_the_original_size(data, make, detector):
    shown = detector(*FOUND)
    masks = masks_of(make(), data)
    assert [tuple(image.shape) for image in shown.shown] == [(3, *SIZE)] * 3
    assert [tuple(mask.shape) for mask in masks] == [(32, 32)] * 3
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[:, 16:] = True
    assert torch.equal(masks[0], expected)
    assert not masks[1].any()  # the cat is not sure enough, the dog is no cat
    assert torch.equal(masks[2], expected.flip(1).roll(-8, 1) & expected.flip(1))


def test_any_category_and_another_least_score(data, make, detector):
    detector(*FOUND)
    masks = masks_of(make(categories={"cat": "any", "lorry": "truck"}), data)
    assert masks[0].all()
    assert masks[1].all()
    detector(*FOUND)
    assert masks_of(make(min_score=0.3), data)[1].float().mean() == 0.5


def test_masks_are_kept_until_something_else_is_asked(data, make, detector, tmp_path):
    first = detector(*FOUND)
    expected = masks_of(make(), data)
    again = detector()
    assert all(map(torch.equal, masks_of(make(), data), expected))
    assert len(first.shown) == 3
    assert not again.shown
    other = detector(*FOUND)
    masks_of(make(min_score=0.3), data)
    assert len(other.shown) == 3
    (tmp_path / "detector.pth").write_bytes(b"other weights")
    newest = detector(*FOUND)
    masks_of(make(), data)
    assert len(newest.shown) == 3
    write_image(tmp_path / "data/val/cat/a.png", SIZE, seed=9)
    changed = detector(*FOUND)
    masks_of(make(), ClassFolderDataModule(tmp_path / "data", image_size=32, batch_size=2, num_workers=0))
    assert len(changed.shown) == 3
    renamed = detector(*FOUND)
    masks_of(make(categories={"lorry": "bus"}), data)
    assert len(renamed.shown) == 3


def test_the_table_counts_images_without_a_detection(data, make, detector, make_trainer, tmp_path):
    detector(*FOUND)
    logger = CSVLogger(tmp_path, name="run", version="")
    trainer = make_trainer(logger=logger, callbacks=[ClassificationScores("rollout", make())])
    trainer.test(ClassificationModule(2, vit=SMALL), data, verbose=False)
    table = (tmp_path / "run/scores.md").read_text()
    assert "detected masks, 1 images without" in table
    assert "| SMM, detected masks ↑ |" in table
    assert 0 < float(trainer.callback_metrics["test/SMM"]) < 1


def test_generated_images_are_detected_as_they_are(make, detector):
    for seed in (0, 1):  # under the same names
        shown = detector(*[detection()] * 2)
        masks = make(categories=dict.fromkeys(tiny_popout().class_names, "any"))
        assert not any(mask.any() for mask in masks_of(masks, tiny_popout(test_size=2, seed=seed)))
        assert [tuple(image.shape) for image in shown.shown] == [(3, 32, 32)] * 2


def test_random_weights(data, tmp_path, monkeypatch):
    """The detector itself, made small."""
    small = partial(maskrcnn_resnet50_fpn_v2, min_size=64, max_size=96, box_score_thresh=0.0)
    monkeypatch.setattr(detected_masks, "maskrcnn_resnet50_fpn_v2", small)
    torch.manual_seed(0)
    weights = small(weights=None, weights_backbone=None).state_dict()
    torch.save({name: tensor.half() for name, tensor in weights.items()}, tmp_path / "random.pth")
    masks = DetectedMasks(
        str(tmp_path / "random.pth"), str(tmp_path), {"cat": "any", "lorry": "any"}, min_score=0.0
    )
    for mask in masks_of(masks, data):
        assert mask.shape == (32, 32)
        assert mask.dtype == torch.bool


def test_a_file_that_is_no_detector(data, tmp_path):
    torch.save({"head.weight": torch.zeros(2)}, tmp_path / "vit.pth")
    masks = DetectedMasks(str(tmp_path / "vit.pth"), str(tmp_path), {"lorry": "truck"})
    with pytest.raises(ValueError, match=r"vit\.pth does not hold the weights of torchvision's maskrcnn"):
        masks_of(masks, data)
    (tmp_path / "page.pth").write_text("404: Not Found")
    masks = DetectedMasks(str(tmp_path / "page.pth"), str(tmp_path), {"lorry": "truck"})
    with pytest.raises(ValueError, match="it is a text file, which begins with '404: Not Found'"):
        masks_of(masks, data)
    with pytest.raises(FileNotFoundError, match="no detector file nowhere"):
        DetectedMasks("nowhere", categories={"lorry": "truck"}).prepare(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": {}}, "COCO has no category called lorry: name one"),
        ({"categories": {"lorry": "truck", "bus": "bus"}}, "categories: the dataset has no class bus"),
        ({"categories": {"lorry": "lorry"}}, "lorry has the category 'lorry', which COCO does not have"),
        ({"categories": {"lorry": "N/A"}}, "lorry has the category 'N/A', which COCO does not have"),
        ({"min_score": 50}, r"min_score must be in \[0, 1\]; got 50"),
    ],
)
def test_wrong_options(data, make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).prepare(data)
