import re

import pytest
import torch

from salvit.modules.checkpoint import check_readable, check_same_model, without_backbone

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
    with pytest.raises(ValueError, match="not written by salvit's SaliencyModule"):
        check_same_model(None, PRESENT)


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"decoder.weight": torch.rand(1000)}}, path)
    return path


def test_a_whole_checkpoint(whole):
    check_readable(whole)


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*a\.ckpt"):
        check_readable(tmp_path / "a.ckpt")


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: b"junk", lambda data: b""])
def test_a_damaged_checkpoint(whole, damage):
    whole.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(ValueError, match=f"cannot read the checkpoint {re.escape(str(whole))}"):
        check_readable(whole)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_checkpoint_is_executed(whole, capsys):
    torch.save({"state_dict": {}, "other": Bomb()}, whole)
    with pytest.raises(ValueError, match="cannot read the checkpoint"):
        check_readable(whole)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{"model": 1}, [1, 2], torch.rand(2)])
def test_something_else(whole, content):
    torch.save(content, whole)
    with pytest.raises(ValueError, match="no Lightning checkpoint"):
        check_readable(whole)
