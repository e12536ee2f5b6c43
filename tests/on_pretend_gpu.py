"""The same numbers on another device, and nothing on two at once.

Run by tests/test_other_device.py in a process of its own.
"""

import copy

import pytest
import torch
from lightning.pytorch import Callback

from salvit.extractors import METHODS, RawAttention
from salvit.metrics import DeletionInsertion, MaxSensitivity, SaCo, default_scores, functional
from salvit.modules import ClassificationModule, ExplanationModule, SaliencyModule
from tests.extractors.conftest import build_vit
from tests.pretend_gpu import GPU, OnePretendGPU, OnGPU, PretendAccelerator
from tests.registry import ARCHITECTURES, make, small_vit, square_images, tolerance, why_not
from tests.tiny import quiet_trainer, save_vit, tiny_popout

every = pytest.mark.parametrize("name", METHODS)
IMAGES = torch.randn(3, 3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGET = torch.tensor([2, 0, 4])


def on_gpu(vit):
    return copy.deepcopy(vit).to(GPU)


def close(maps, expected, relative=1e-10):
    assert isinstance(maps, OnGPU)
    torch.testing.assert_close(maps.cpu(), expected, rtol=0, atol=relative * float(expected.abs().max()))


def test_the_device_keeps_the_rules_of_a_gpu():
    here, there = torch.ones(2), torch.ones(2).to(GPU)
    with pytest.raises(RuntimeError, match="tensors are on two devices"):
        here + there
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    assert (there + torch.tensor(1.0)).device == GPU  # a number may come from anywhere
    assert there.sum().item() == 2
    assert there[there > 0].cpu().tolist() == [1, 1]


@every
@pytest.mark.parametrize("target", [2, TARGET, None], ids=["one", "each", "predicted"])
def test_maps_of_the_cpu(name, target):
    vit = build_vit()
    maps = make(name)(on_gpu(vit), IMAGES.to(GPU), target)
    close(maps, make(name)(vit, IMAGES, target), tolerance(name))


@pytest.mark.parametrize("name", ["relevance_lrp", "full_lrp"])
def test_double_precision(name):
    vit = build_vit().float()
    maps = make(name, precision="double")(on_gpu(vit), IMAGES.float().to(GPU), 2)
    close(maps, make(name, precision="double")(vit, IMAGES.float(), 2), 1e-4)


@every
def test_images_of_another_device_are_refused(name):
    with pytest.raises(ValueError, match="images are on gpu:0, the model on cpu"):
        make(name)(build_vit(), IMAGES.to(GPU), 2)
    with pytest.raises(ValueError, match="images are on cpu, the model on gpu:0"):
        make(name)(on_gpu(build_vit()), IMAGES, 2)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_model(architecture):
    vit = small_vit(architecture).double()
    images, target = square_images(architecture).double(), torch.tensor([3, 1])
    working = [name for name in METHODS if not why_not(make(name), vit)]
    assert working
    on_device = on_gpu(vit)
    for name in working:
        expected = make(name)(vit, images, target)
        close(make(name)(on_device, images.to(GPU), target.to(GPU)), expected, tolerance(name))


class Where(Callback):
    """Looks where the model is in the middle of it all; Lightning brings it back to the CPU afterwards."""

    def __init__(self, device):
        self.device = device

    def look(self, trainer, module, outputs, *args):
        assert module.device == self.device
        assert not isinstance(outputs, torch.Tensor) or outputs.device == self.device

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = look


def trainer(folder, gpu, **options):
    place = {"accelerator": PretendAccelerator(), "strategy": OnePretendGPU()} if gpu else {}
    return quiet_trainer(folder, callbacks=[Where(GPU if gpu else torch.device("cpu"))], **place, **options)


@pytest.mark.parametrize("cache_maps", [False, True])
def test_a_decoder_is_fitted_and_scored_as_on_the_cpu(tmp_path, cache_maps):
    def scores(gpu):
        torch.manual_seed(0)
        module = SaliencyModule(
            vit=save_vit(tmp_path / "vit.safetensors"),
            extractor=RawAttention(block="all", per_head=True),
            center_bias=True,
            cache_maps=cache_maps,
            warmup_epochs=1,
            profile=["exact", "mit", "tuebingen"],
        )
        torch.manual_seed(0)
        run = trainer(tmp_path, gpu, max_epochs=2)
        run.fit(module, datamodule=tiny_popout())
        (found,) = run.test(module, datamodule=tiny_popout(), verbose=False)
        predicted = trainer(tmp_path, gpu).predict(module, datamodule=tiny_popout())
        return found, predicted

    (there, maps), (here, expected) = scores(gpu=True), scores(gpu=False)
    assert there.keys() == here.keys()
    assert there == pytest.approx(here, abs=1e-4)
    for one, other in zip(maps, expected, strict=True):
        torch.testing.assert_close([image.cpu() for image in one], list(other), rtol=1e-4, atol=1e-6)


def test_a_vit_is_trained_as_on_the_cpu(tmp_path):
    def scores(gpu):
        torch.manual_seed(0)
        vit = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
        module = ClassificationModule(num_classes=10, vit=vit, dense_weight=1.0, warmup_epochs=0)
        run = trainer(tmp_path, gpu)
        run.fit(module, datamodule=tiny_popout())
        return run.test(module, datamodule=tiny_popout(), verbose=False)[0]

    assert scores(gpu=True) == pytest.approx(scores(gpu=False), abs=1e-3)


def test_explanations_are_scored_as_on_the_cpu(tmp_path):
    scores = [*default_scores(), DeletionInsertion(), SaCo(groups=4), MaxSensitivity(samples=2)]
    methods = [METHODS[name]() for name in ("agcam", "rollout", "random")]

    def found(gpu):
        module = ExplanationModule(
            vit=save_vit(tmp_path / "vit.safetensors"), extractors=methods, scores=scores, results=None
        )
        (table,) = trainer(tmp_path, gpu).test(module, datamodule=tiny_popout(), verbose=False)
        return table

    there, here = found(gpu=True), found(gpu=False)
    assert there.keys() == here.keys()
    assert there == pytest.approx(here, abs=1e-3, nan_ok=True)


@pytest.mark.parametrize("name", ["cc", "kld", "sim"])
def test_scores_of_densities(name):
    pred, density = torch.rand(2, 2, 6, 8, dtype=torch.float64)
    score = getattr(functional, name)
    close(score(pred.to(GPU), density.to(GPU)), score(pred, density))
