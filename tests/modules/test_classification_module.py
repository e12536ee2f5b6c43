import pytest
import torch
from lightning.pytorch import Callback
from torch.nn import functional as F

from salvit.modules import ClassificationModule
from salvit.vit import load_vit, normalize
from tests.tiny import tiny_popout

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


def make_module(**options):
    torch.manual_seed(0)
    return ClassificationModule(10, **{"vit": SMALL, "warmup_epochs": 0, **options})


class Losses(Callback):
    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("dense_weight", [0.0, 1.0])
def test_training_lowers_the_loss_and_changes_every_parameter(make_trainer, dense_weight, precision):
    before, losses = dict(make_module(dense_weight=dense_weight).named_parameters()), Losses()
    module = make_module(dense_weight=dense_weight, lr=3e-3)
    trainer = make_trainer(max_epochs=25, limit_val_batches=0, callbacks=[losses], precision=precision)
    trainer.fit(module, tiny_popout(batch_size=8))
    assert losses.losses[-1] < 0.7 * losses.losses[0]
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    assert not [name for name, now in module.named_parameters() if torch.equal(now, before[name])]
    assert ("train/dense_loss" in trainer.callback_metrics) == bool(dense_weight)


def loss_of(module, batch):
    module.log = module.log_dict = lambda *args, **kwargs: None
    return module.training_step(batch, 0).detach()


def test_without_dense_weight_only_labels_are_needed():
    module, images, labels = make_module(), torch.rand(2, 3, 32, 32), torch.tensor([1, 7])
    torch.testing.assert_close(module(images), module.vit((images - 0.5) / 0.5))
    expected = F.cross_entropy(module(images), labels)
    torch.testing.assert_close(loss_of(module, {"image": images, "label": labels}), expected.detach())
    assert module.dense_head is None


def test_the_dense_loss_is_weighed():
    batch = next(iter(tiny_popout().train_dataloader()))
    plain, light, heavy = (loss_of(make_module(dense_weight=weight), batch) for weight in (0.0, 1.0, 3.0))
    assert light > plain
    torch.testing.assert_close(heavy - plain, 3 * (light - plain))


def test_the_dense_loss_is_least_for_the_shares_of_each_patch():
    module, batch = make_module(dense_weight=1.0), next(iter(tiny_popout().train_dataloader()))
    classes = torch.stack([batch["items"] == kind + 1 for kind in range(10)], dim=1).float()
    shares, target = (F.avg_pool2d(maps, 8).flatten(2).mT for maps in (classes, batch["mask"][:, None]))
    item_and_odd = torch.cat([shares.sum(2, keepdim=True), target], dim=2).clamp(1e-6, 1 - 1e-6)
    perfect = torch.cat([shares.clamp_min(1e-6).log(), item_and_odd.logit()], dim=2)
    least = module._dense_loss(perfect, batch)
    transposed = perfect.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)
    for worse in (perfect * 0.9, perfect.roll(1, 0), transposed, perfect.roll(1, 2), 0 * perfect):
        assert module._dense_loss(worse, batch) > least + 1e-3


def test_accuracy(make_trainer):
    module, data = make_module(), tiny_popout(test_size=7, val_size=3)
    trainer = make_trainer()
    for stage, split in (("validate", "val"), ("test", "test")):
        getattr(trainer, stage)(module, data, verbose=False)
        samples = [data.dataset(split)[index] for index in range(len(data.dataset(split)))]
        with torch.no_grad():
            predicted = module(torch.stack([sample["image"] for sample in samples])).argmax(1)
        expected = (predicted == torch.tensor([sample["label"] for sample in samples])).float().mean()
        assert float(trainer.callback_metrics[f"{split}/accuracy"]) == pytest.approx(float(expected))


def test_training_goes_on_from_a_model_with_a_new_head(make_trainer, vit_file):
    before, images = load_vit(vit_file()), torch.rand(2, 3, 32, 32)
    module = ClassificationModule(7, vit=vit_file(), warmup_epochs=0)
    features = module.vit.forward_features(normalize(module.vit, images))
    torch.testing.assert_close(features, before.forward_features(normalize(before, images)))
    assert module(images).shape == (2, 7)
    assert module.weights_description["std"] == [0.25] * 3
    fresh = ClassificationModule(10, vit=vit_file(), warmup_epochs=0)
    make_trainer(limit_val_batches=0).fit(fresh, tiny_popout())
    changed = {
        name for name, now in fresh.vit.named_parameters() if not torch.equal(now, before.state_dict()[name])
    }
    assert changed == {name for name, _ in before.named_parameters()}
