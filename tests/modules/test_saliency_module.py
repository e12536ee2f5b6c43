import copy

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn import functional as F

from datamodules import SaliconDataModule
from datamodules.base import collate
from salvit.extractors import RawAttention, SalientAttention
from salvit.metrics import functional
from salvit.modules import SaliencyModule
from salvit.modules.losses import SaliencyLoss
from salvit.modules.saliency import NativeMaps, density_like
from salvit.vit import weights_hash
from tests.datamodules.data.salicon import make_salicon
from tests.tiny import quiet_trainer, tiny_popout


@pytest.fixture
def make_module(vit_file):
    def make(seed=0, vit_seed=0, **options):
        torch.manual_seed(seed)
        return SaliencyModule(vit=vit_file(vit_seed), **{"warmup_epochs": 0, **options})

    return make


@pytest.fixture
def salicon(tmp_path):
    root = make_salicon(tmp_path / "salicon", train=4, val=5)
    return SaliconDataModule(root, image_size=32, batch_size=2, num_workers=0)


def test_forward_normalises_images_for_the_backbone(make_module):
    module, images = make_module(extractor=RawAttention(block="all", per_head=True)), torch.rand(2, 3, 32, 48)
    saliency = module(images)
    assert (saliency.shape, saliency.dtype) == ((2, 32, 48), torch.float32)
    assert saliency.min() >= 0
    assert module.decoder.convolutions[0].in_channels == 6
    maps = module.extractor(module.vit, (images - 0.5) / 0.25)
    torch.testing.assert_close(saliency, module.decoder(maps, (32, 48)))


def test_maps_of_pixels_are_averaged_over_each_patch(make_module):
    module, images = make_module(extractor="full_lrp"), torch.rand(2, 3, 32, 48)
    pixels = module.extractor(module.vit, (images - 0.5) / 0.25)
    assert pixels.shape == (2, 1, 32, 48)
    patches = pixels.reshape(2, 1, 4, 8, 6, 8).mean(dim=(3, 5))
    torch.testing.assert_close(module.extract(images), patches)


def test_only_the_decoder_is_trained(make_module, make_trainer, popout):
    module = make_module()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trainer = make_trainer(max_epochs=2)
    trainer.fit(module, popout)
    optimized = [parameter for group in trainer.optimizers[0].param_groups for parameter in group["params"]]
    assert {id(p) for p in optimized} == {id(p) for p in module.decoder.parameters()}
    changed = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"decoder.{name}" for name in module.decoder.state_dict()}
    assert module.train().decoder.training
    assert not any(layer.training for layer in module.vit.modules())
    assert not any(parameter.requires_grad for parameter in module.vit.parameters())


@pytest.mark.parametrize("extractor", [RawAttention(per_head=True), SalientAttention(k=3)])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_lowers_the_loss(make_module, make_trainer, popout, extractor, precision):
    torch.manual_seed(1)
    module = make_module(extractor=extractor, lr=3e-3, loss=SaliencyLoss(cc=0.5, nss=0.1), center_bias=True)
    batch = next(iter(popout.train_dataloader()))

    def loss():
        with torch.no_grad():
            return float(module.loss(module(batch["image"]), batch["density"]))

    before = loss()
    make_trainer(max_epochs=8, precision=precision, limit_val_batches=0).fit(module, popout)
    assert loss() < before - 0.02
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("extractor", [RawAttention(per_head=True), SalientAttention(k=3)])
def test_cached_maps_change_nothing(make_module, make_trainer, popout, monkeypatch, extractor):
    weights, scores = [], []
    # The first fit of a process draws other random numbers. Then without a cache, with an empty and with a full one.
    for cache_maps in (False, False, True, True):
        module = make_module(cache_maps=cache_maps, extractor=extractor)
        if weights and len(weights) == 3:
            monkeypatch.setattr(module.stored, "extract", None)  # nothing is left to be extracted
        torch.manual_seed(3)
        make_trainer(max_epochs=2).fit(module, popout)
        scores += make_trainer().test(module, popout, verbose=False)
        weights.append(module.decoder.state_dict())
    for other, score in zip(weights[2:], scores[2:], strict=True):
        assert all(torch.equal(other[name], tensor) for name, tensor in weights[1].items())
        assert score == scores[1]


def test_maps_are_cached_in_a_folder_of_ones_own(make_module, make_trainer, popout, tmp_path):
    make_trainer(max_epochs=1).fit(make_module(cache_maps=str(tmp_path / "mine")), popout)
    assert len(list((tmp_path / "mine").glob("*/*.safetensors"))) == len(popout.dataset("train")) + len(
        popout.dataset("val")
    )


def test_another_run_of_a_module_takes_nothing_from_the_data_of_the_first(make_module, make_trainer, popout):
    module, other = make_module(cache_maps=True), tiny_popout(seed=1, val_size=5)
    make_trainer().fit(module, popout)
    cached = make_trainer().validate(module, other, verbose=False)
    module.cache = None
    assert cached == make_trainer().validate(module, other, verbose=False)


def test_maps_are_cached_by_split_image_and_mirroring(make_module, popout):
    module = make_module(cache_maps=True)
    train, val = (collate([popout.dataset(split)[i] for i in (0, 1)]) for split in ("train", "val"))
    plain = module._predict({**train, "mirrored": [False, False]}, "train")
    flipped = {**train, "image": train["image"].flip(-1), "mirrored": [True, False]}
    mirrored = module._predict(flipped, "train")
    torch.testing.assert_close(mirrored[0], module(flipped["image"])[0])
    torch.testing.assert_close(mirrored[1], plain[1])  # this image was seen before
    torch.testing.assert_close(module._predict(val, "val"), module(val["image"]))


def hand_scores(module, data, split):
    """Scores from predictions, one image at a time."""
    dataset = data.dataset(split)
    pool = functional.fixation_counts(
        [dataset.fixations(i) for i in range(len(dataset))], [dataset.size(0)] * len(dataset), dataset.size(0)
    )
    scores = {name: [] for name in ("CC", "NSS", "SIM", "KLD", "sAUC", "AUC")}
    for sample in (dataset[i] for i in range(len(dataset))):
        with torch.no_grad():
            small = module(sample["image"][None])
        pred = F.interpolate(small[None], sample["size"], mode="bilinear", align_corners=False)[0]
        density, fixations = sample["density"][None], [sample["fixations"]]
        scores["CC"].append(functional.cc(pred, density))
        scores["NSS"].append(functional.nss(pred, fixations))
        scores["SIM"].append(functional.sim(pred, density))
        scores["KLD"].append(functional.kld(pred, density))
        scores["sAUC"].append(functional.shuffled_auc(pred, fixations, pool))
        scores["AUC"].append(functional.auc(pred, fixations))
    return {name: float(torch.cat(values).mean()) for name, values in scores.items()}


@pytest.mark.parametrize(("stage", "split"), [("fit", "val"), ("validate", "val"), ("test", "test")])
def test_scores_are_those_of_the_predictions_at_native_size(make_module, make_trainer, salicon, stage, split):
    module, trainer = make_module(), make_trainer(max_epochs=2)
    getattr(trainer, stage)(module, salicon)
    scores = {
        name.removeprefix(f"{split}/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(f"{split}/")
    }
    assert scores == pytest.approx(hand_scores(module.eval(), salicon, split), abs=1e-5)


def test_predictions_are_at_native_size(make_module, make_trainer, salicon):
    module = make_module()
    predictions = [one for batch in make_trainer().predict(module, salicon) for one in batch]
    assert [prediction.shape for prediction in predictions] == [(48, 64)] * 5
    small = module(salicon.dataset("predict")[4]["image"][None])
    expected = F.interpolate(small[None], (48, 64), mode="bilinear")
    torch.testing.assert_close(predictions[4], expected[0, 0])


def test_native_maps_are_resized_one_by_one():
    pred, sizes = torch.rand(2, 4, 4), [(4, 6), (8, 8)]
    maps = NativeMaps(pred, sizes)
    for index, (size, saliency) in enumerate(zip(sizes, maps, strict=True)):
        expected = F.interpolate(pred[index][None, None], size, mode="bilinear")[0, 0]
        torch.testing.assert_close(saliency, expected)
        assert torch.equal(maps[index], saliency)


@pytest.fixture(scope="module")
def saved(vit_file, tmp_path_factory):
    """A module trained for two epochs, and its checkpoints after the first and the second."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    module = SaliencyModule(vit=vit_file(), warmup_epochs=0)
    callback = ModelCheckpoint(dirpath=folder, filename="{epoch}", save_top_k=-1)
    trainer = quiet_trainer(folder, max_epochs=2, enable_checkpointing=True, callbacks=[callback])
    trainer.fit(module, tiny_popout(batch_size=8))
    return module, folder / "epoch=0.ckpt", folder / "epoch=1.ckpt"


def test_a_checkpoint_is_the_decoder_and_what_it_stands_on(
    saved, vit_file, make_module, make_trainer, popout
):
    module, _, path = saved
    content = torch.load(path, weights_only=True)
    assert set(content["state_dict"]) == {f"decoder.{name}" for name in module.decoder.state_dict()}
    assert content["salvit"]["weights_sha256"] == weights_hash(module.vit)
    assert content["salvit"]["vit"] == vit_file()
    assert content["salvit"]["extractor"]["class_path"] == "salvit.extractors.RawAttention"
    assert content["salvit"]["extractor"]["init_args"] == {"block": -1, "rows": "auto", "per_head": True}
    assert content["salvit"]["decoder"] == {"channels": [3, 64, 48, 28], "center_bias": False}
    other, images = make_module(seed=5), torch.rand(1, 3, 32, 32)
    assert not torch.equal(other(images), module(images))
    make_trainer().test(other, popout, ckpt_path=path, verbose=False)
    torch.testing.assert_close(other(images), module(images), rtol=0, atol=0)


def test_training_goes_on_where_it_stopped(saved, make_module, make_trainer):
    module, first, _ = saved
    other = make_module(seed=5)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(other, tiny_popout(batch_size=8), ckpt_path=first)
    assert trainer.global_step == 2
    for name, tensor in module.decoder.state_dict().items():
        torch.testing.assert_close(other.decoder.state_dict()[name], tensor, msg=name)


@pytest.mark.parametrize(
    ("stage", "options", "named"),
    [
        (
            "fit",
            {"vit_seed": 1},
            "weights_sha256: the checkpoint has [0-9a-f]{64}, this run has [0-9a-f]{64}",
        ),
        (
            "test",
            {"extractor": RawAttention(rows="all", per_head=True)},
            "extractor: the checkpoint has raw_attention:per_head=true, this run has "
            "raw_attention:rows=all,per_head=true",
        ),
        (
            "predict",
            {"extractor": RawAttention(per_head=False)},
            r"decoder: .*\[3, 64, 48, 28\].*\[1, 64, 48, 28\]",
        ),
        ("fit", {"center_bias": True}, "decoder: .*'center_bias': False.*'center_bias': True"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(
    saved, make_module, make_trainer, popout, stage, options, named
):
    module = make_module(**options)
    before = copy.deepcopy(module.decoder.state_dict())
    with pytest.raises(ValueError, match=f"(?s)belongs to another model.*{named}.*taken from the checkpoint"):
        getattr(make_trainer(max_epochs=2), stage)(module, popout, ckpt_path=saved[2])
    torch.testing.assert_close(module.decoder.state_dict(), before, rtol=0, atol=0)


def test_an_extractor_as_text_and_one_that_does_not_fit(vit_file):
    module = SaliencyModule(vit=vit_file(), extractor="raw_attention:block=0,per_head=true")
    assert repr(module.extractor) == repr(RawAttention(block=0, per_head=True))
    with pytest.raises(ValueError, match='no method "rollot"; did you mean "rollout"'):
        SaliencyModule(vit=vit_file(), extractor="rollot")
    vit = vit_file(class_token=False, global_pool="avg")
    with pytest.raises(ValueError, match="needs a class token"):
        SaliencyModule(vit=vit, extractor=RawAttention(rows="class"))
    assert SaliencyModule(vit=vit)(torch.rand(1, 3, 32, 32)).shape == (1, 32, 32)


def test_densities_are_resized_to_the_prediction_only_if_they_must():
    pred = torch.rand(2, 4, 6)
    same, larger = torch.rand(2, 4, 6), torch.rand(2, 8, 12)
    assert torch.equal(density_like(pred, same), same)
    expected = F.interpolate(larger[:, None], (4, 6), mode="bilinear", antialias=True)[:, 0]
    torch.testing.assert_close(density_like(pred, larger), expected)
    torch.testing.assert_close(density_like(pred, [same[0], larger[1]]), torch.stack([same[0], expected[1]]))


def test_a_compiled_module_does_as_it_does_uncompiled(make_module, make_trainer, popout):
    weights, scores = [], []
    for wrap in (lambda module: module, lambda module: torch.compile(module, backend="eager")):
        module = make_module(extractor=RawAttention(per_head=True))
        torch.manual_seed(1)
        make_trainer(max_epochs=1).fit(wrap(module), popout)
        scores.append(make_trainer().test(wrap(module), popout, verbose=False))
        weights.append(module.decoder.state_dict())
    assert scores[0] == scores[1]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
