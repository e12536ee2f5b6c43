import io
import re

import pytest
import torch

from salvit.extractors import Rollout
from salvit.modules import ClassificationModule, SaliencyModule
from salvit.modules.checkpoint import (
    check_same_model,
    find_checkpoint,
    read_checkpoint,
)
from tests.tiny import quiet_trainer, tiny_popout

PRESENT = {"vit": "a", "weights_sha256": "1", "extractor": {"block": -1}, "decoder": {"channels": [1]}}


def test_the_same_model_and_all_differences_of_another():
    check_same_model({**PRESENT, "vit": "renamed"}, PRESENT)
    stored = {"vit": "b", "weights_sha256": "2", "extractor": {"block": -1}, "decoder": {"channels": [3]}}
    with pytest.raises(ValueError, match=r"(?s)backbone 'b'; here 'a'.*weights_sha256.*decoder") as error:
        check_same_model(stored, PRESENT)
    assert "extractor:" not in str(error.value)
    with pytest.raises(ValueError, match="not written by salvit's modules"):
        check_same_model(None, PRESENT)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


STATE = {"state_dict": {"decoder.weight": torch.rand(1000)}}


def saved_bytes(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "cannot read .*Git LFS pointer"),
        (saved_bytes(STATE)[:1000], "cannot read the checkpoint"),
        (b"junk", "cannot read the checkpoint"),
        (b"", "cannot read the checkpoint"),
        (saved_bytes({**STATE, "other": Bomb()}), r"cannot read .*Python objects \(builtins\.print\)"),
        (saved_bytes({"model": 1}), "no Lightning checkpoint"),
        (saved_bytes([1, 2]), "no Lightning checkpoint"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, capsys, content, said):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)
    assert "executed" not in capsys.readouterr().out


def fit(folder, best=None):
    """A version folder as a fit leaves it."""
    place = folder / "checkpoints"
    place.mkdir(parents=True)
    states = {}
    if best:
        (place / best).touch()
        states = {"ModelCheckpoint{}": {"monitor": "val/KLD", "best_model_path": f"/elsewhere/{best}"}}
    torch.save({"state_dict": {}, "callbacks": states}, place / "last.ckpt")
    return place


def test_the_newest_fit_is_taken_or_the_newest_that_has_a_best(tmp_path):
    place = fit(tmp_path)
    assert find_checkpoint("last", tmp_path) == place / "last.ckpt"
    for version, best in ((2, "epoch=1.ckpt"), (9, "epoch=3.ckpt"), (10, None)):
        fit(tmp_path / f"version_{version}", best)
    (tmp_path / "version_11").mkdir()  # a test's
    assert find_checkpoint("last", tmp_path) == tmp_path / "version_10/checkpoints/last.ckpt"
    assert find_checkpoint("best", tmp_path) == tmp_path / "version_9/checkpoints/epoch=3.ckpt"


def test_what_was_looked_for_and_where(tmp_path):
    for name in ("a.ckpt", "http://a.b/c.ckpt", "hpc"):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint {name}: .*a file on this machine"):
            read_checkpoint(name)
    for which, said in (("last", "no checkpoint last.ckpt"), ("best", "no best checkpoint")):
        with pytest.raises(FileNotFoundError, match=f"{said} under {re.escape(str(tmp_path))}"):
            find_checkpoint(which, tmp_path)
    fit(tmp_path / "version_0", best="gone.ckpt").joinpath("gone.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no best checkpoint under .*`monitor`"):
        find_checkpoint("best", tmp_path)


@pytest.fixture
def saved(vit_file, tmp_path):
    module = SaliencyModule(
        vit=vit_file(), extractor=Rollout(start_layer=1), center_bias=True, warmup_epochs=0
    )
    trainer = quiet_trainer(tmp_path, limit_val_batches=0)
    trainer.fit(module, tiny_popout())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    return module.eval(), tmp_path / "a.ckpt"


def test_a_checkpoint_needs_no_option_of_the_model_and_says_what_it_was_fitted_on(saved):
    module, path = saved
    other, images = SaliencyModule.load_from_checkpoint(path).eval(), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(other(images), module(images), rtol=0, atol=0)
    assert repr(other.extractor) == repr(module.extractor)
    assert SaliencyModule.load_from_checkpoint(path, lr=0.5).lr == 0.5
    data = read_checkpoint(path)["salvit"]["data"]
    assert data["class_path"] == "datamodules.PopOutDataModule"
    assert (data["init_args"]["train_size"], data["init_args"]["image_size"]) == (8, 32)


def test_options_modules_and_classes_that_contradict_a_checkpoint_are_refused(saved, vit_file):
    for options in ({"extractor": Rollout()}, {"center_bias": False}, {"vit": vit_file(1)}):
        with pytest.raises(ValueError, match="belongs to another model"):
            SaliencyModule.load_from_checkpoint(saved[1], **options)
    with pytest.raises(ValueError, match=r"describes a salvit\.SaliencyModule, not a .*Classification"):
        ClassificationModule.load_from_checkpoint(saved[1])
    content = torch.load(saved[1], weights_only=True)
    content["salvit"]["init_args"]["loss"] = {"class_path": "os.system", "init_args": {"command": "exit"}}
    torch.save(content, saved[1])
    with pytest.raises(ValueError, match=r"names os\.system, which is no SaliencyLoss"):
        SaliencyModule.load_from_checkpoint(saved[1])


def test_a_classifier_is_made_from_its_checkpoint_without_the_weights_it_began_with(vit_file, tmp_path):
    path = vit_file(5)
    module = ClassificationModule(7, vit=path, dense_weight=0.5, warmup_epochs=0)
    trainer = quiet_trainer(tmp_path, limit_val_batches=0)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    other, images = ClassificationModule.load_from_checkpoint(tmp_path / "a.ckpt"), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(other.eval()(images), module.eval()(images))
    with pytest.raises(ValueError, match="num_classes: the checkpoint has 7, this run has 8"):
        ClassificationModule.load_from_checkpoint(tmp_path / "a.ckpt", num_classes=8)
