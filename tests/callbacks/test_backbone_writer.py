import json
import os
import sys

import pytest
import torch

from salvit.callbacks.backbone import BackboneWriter
from salvit.modules import ClassificationModule, SaliencyModule
from salvit.vit import load_vit, normalize

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


def test_the_backbone_reads_back_and_is_described_also_from_a_checkpoint(make_trainer, popout, tmp_path):
    torch.manual_seed(0)
    module = ClassificationModule(10, vit=SMALL, dense_weight=1.0, warmup_epochs=0)
    path = tmp_path / "new" / "mine.safetensors"
    trainer = make_trainer(max_epochs=2, callbacks=[BackboneWriter(str(path))])
    trainer.fit(module, popout)
    assert not path.exists()
    trainer.test(module, popout, verbose=False)
    vit, images = load_vit(path), torch.rand(4, 3, 32, 48)
    torch.testing.assert_close(vit((images - 0.5) / 0.5), module(images), atol=5e-3, rtol=5e-3)
    assert SaliencyModule(vit=str(path))(images).shape == (4, 32, 48)
    half_precision = sum(tensor.numel() for tensor in module.vit.state_dict().values()) * 2
    assert half_precision < path.stat().st_size < half_precision + 10_000
    assert sorted(file.name for file in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]
    description = json.loads(path.with_suffix(".json").read_text())
    assert description["model"] == {**SMALL, "num_classes": 10}
    assert description["mean"] == description["std"] == [0.5, 0.5, 0.5]
    assert description["label_names"] == trainer.datamodule.class_names
    assert (description["steps"], description["seed"]) == (4, int(os.environ.get("PL_GLOBAL_SEED", "0")))
    accuracy = round(float(trainer.callback_metrics["test/accuracy"]), 4)
    assert description["scores"] == {"test/accuracy": accuracy}
    assert description["command"] == " ".join(["salvit", *sys.argv[1:]])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    later = make_trainer(callbacks=[BackboneWriter(str(tmp_path / "later.safetensors"))])
    fresh = ClassificationModule(10, vit=SMALL, dense_weight=1.0)
    later.test(fresh, popout, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert json.loads((tmp_path / "later.json").read_text())["steps"] == 4
    again = load_vit(tmp_path / "later.safetensors")
    torch.testing.assert_close(again(images), vit(images))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.augreg_in21k", "a file"])
def test_a_model_trained_on_reads_back(make_trainer, popout, tmp_path, vit_file, name):
    name = vit_file() if name == "a file" else name
    module, path = ClassificationModule(10, vit=name, pretrained=False), tmp_path / "mine.safetensors"
    make_trainer(callbacks=[BackboneWriter(str(path))]).test(module, popout, verbose=False)
    vit, images = load_vit(path), torch.rand(2, 3, 32, 48)
    expected = module.vit.eval()(normalize(module.vit, images))
    torch.testing.assert_close(vit(normalize(vit, images)), expected, atol=5e-3, rtol=5e-3)
    assert json.loads(path.with_suffix(".json").read_text())["vit"] == name
