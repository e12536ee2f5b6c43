import re

import pytest
import torch

from salvit.extractors import Rollout
from salvit.modules import ClassificationModule, SaliencyModule
from salvit.modules.checkpoint import (
    check_same_model,
    find_checkpoint,
    public_path,
    read_checkpoint,
    without_backbone,
)
from tests.tiny import quiet_trainer, tiny_popout

PRESENT = {"vit": "a", "weights_sha256": "1", "extractor": {"block": -1}, "decoder": {"channels": [1]}}


def test_only_the_backbone_is_dropped():
    state = {"vit.head.weight": 0, "decoder.vit.weight": 1, "vitality": 2}
    assert without_backbone(state) == {"decoder.vit.weight": 1, "vitality": 2}


def test_the_same_model():
    check_same_model({**PRESENT, "vit": "renamed"}, PRESENT)


def test_all_differences_are_named():
    stored = {"vit": "b", "weights_sha256": "2", "extractor": {"block": -1}, "decoder": {"channels": [3]}}
    with pytest.raises(ValueError, match=r"(?s)backbone 'b'; here 'a'.*weights_sha256.*decoder") as error:
        check_same_model(stored, PRESENT)
    assert "extractor:" not in str(error.value)


def test_no_description():
    with pytest.raises(ValueError, match="not written by salvit's modules"):
        check_same_model(None, PRESENT)


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"decoder.weight": torch.rand(1000)}}, path)
    return path


def test_a_whole_checkpoint(whole):
    read_checkpoint(whole)


@pytest.mark.parametrize("name", ["a.ckpt", "http://a.b/c.ckpt", "registry:owner/model", "hpc"])
def test_no_checkpoint(name):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint {name}: .*a file on this machine"):
        read_checkpoint(name)


def test_a_git_lfs_pointer_is_no_checkpoint(whole):
    whole.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        read_checkpoint(whole)


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: b"junk", lambda data: b""])
def test_a_damaged_checkpoint(whole, damage):
    whole.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(ValueError, match=f"cannot read the checkpoint {re.escape(str(whole))}"):
        read_checkpoint(whole)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_checkpoint_is_executed(whole, capsys):
    torch.save({"state_dict": {}, "other": Bomb()}, whole)
    with pytest.raises(ValueError, match=r"cannot read the checkpoint .*Python objects \(builtins\.print\)"):
        read_checkpoint(whole)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{"model": 1}, [1, 2], torch.rand(2)])
def test_something_else(whole, content):
    torch.save(content, whole)
    with pytest.raises(ValueError, match="no Lightning checkpoint"):
        read_checkpoint(whole)


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


def test_the_newest_fit_is_taken(tmp_path):
    for version in (2, 9, 10):
        fit(tmp_path / f"version_{version}")
    (tmp_path / "version_11").mkdir()  # a test's
    assert find_checkpoint("last", tmp_path) == tmp_path / "version_10/checkpoints/last.ckpt"


def test_the_best_is_that_of_the_newest_fit_that_has_one(tmp_path):
    place = fit(tmp_path / "version_1", best="epoch=3.ckpt")
    fit(tmp_path / "version_0", best="epoch=1.ckpt")
    fit(tmp_path / "version_2")
    assert find_checkpoint("best", tmp_path) == place / "epoch=3.ckpt"


def test_a_folder_of_checkpoints_without_versions(tmp_path):
    place = fit(tmp_path)
    assert find_checkpoint("last", tmp_path) == place / "last.ckpt"


@pytest.mark.parametrize("which", ["last", "best"])
def test_what_was_looked_for_and_where(tmp_path, which):
    with pytest.raises(
        FileNotFoundError, match=f"no (checkpoint )?{which}.* under {re.escape(str(tmp_path))}"
    ):
        find_checkpoint(which, tmp_path)
    fit(tmp_path / "version_0", best="gone.ckpt").joinpath("gone.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no best checkpoint under .*`monitor`"):
        find_checkpoint("best", tmp_path)


def test_a_class_is_named_by_the_package_that_offers_it():
    assert public_path(Rollout) == "salvit.extractors.Rollout"
    assert public_path(Bomb) == f"{Bomb.__module__}.Bomb"


@pytest.fixture
def saved(vit_file, tmp_path):
    module = SaliencyModule(
        vit=vit_file(), extractor=Rollout(start_layer=1), center_bias=True, warmup_epochs=0
    )
    trainer = quiet_trainer(tmp_path, limit_val_batches=0)
    trainer.fit(module, tiny_popout())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    return module.eval(), tmp_path / "a.ckpt"


def test_a_checkpoint_needs_no_option_of_the_model(saved):
    module, path = saved
    other, images = SaliencyModule.load_from_checkpoint(path).eval(), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(other(images), module(images), rtol=0, atol=0)
    assert repr(other.extractor) == repr(module.extractor)
    assert SaliencyModule.load_from_checkpoint(path, lr=0.5).lr == 0.5


def test_only_classes_of_the_right_kind_are_made(saved):
    content = torch.load(saved[1], weights_only=True)
    content["salvit"]["init_args"]["loss"] = {
        "class_path": "os.system",
        "init_args": {"command": "touch exploded"},
    }
    torch.save(content, saved[1])
    with pytest.raises(ValueError, match=r"names os\.system, which is no SaliencyLoss"):
        SaliencyModule.load_from_checkpoint(saved[1])


def test_an_option_that_contradicts_a_checkpoint_is_refused(saved, vit_file):
    for options in ({"extractor": Rollout()}, {"center_bias": False}, {"vit": vit_file(1)}):
        with pytest.raises(ValueError, match="belongs to another model"):
            SaliencyModule.load_from_checkpoint(saved[1], **options)


def test_a_checkpoint_of_another_module(saved):
    with pytest.raises(ValueError, match=r"describes a salvit\.SaliencyModule, not a .*Classification"):
        ClassificationModule.load_from_checkpoint(saved[1])


def test_a_checkpoint_says_what_it_was_fitted_on(saved):
    data = read_checkpoint(saved[1])["salvit"]["data"]
    assert data["class_path"] == "datamodules.PopOutDataModule"
    assert (data["init_args"]["train_size"], data["init_args"]["image_size"]) == (8, 32)


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
