import pytest
import torch

from salvit.extractors.tf32 import _switches, without_tf32
from tests.extractors.conftest import build_vit
from tests.registry import make


def states():
    return [getattr(place, name) for place, name, _ in _switches()]


FULL = [full for _, _, full in _switches()]


@pytest.fixture(autouse=True)
def tf32():
    """On, as `salvit fit` has it, and afterwards as it was."""
    before = states()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")
    for (place, name, _), value in zip(_switches(), before, strict=True):
        setattr(place, name, value)


def test_off_inside_and_as_before_afterwards():
    before = states()
    assert before != FULL
    with without_tf32():
        with without_tf32():
            assert states() == FULL
        assert states() == FULL
    assert states() == before
    assert torch.get_float32_matmul_precision() == "high"
    with pytest.raises(KeyboardInterrupt), without_tf32():
        raise KeyboardInterrupt
    assert states() == before


@pytest.mark.parametrize("name", ["relevance_lrp", "partial_lrp", "full_lrp", "salient_attention"])
def test_computed_without(name, images, monkeypatch):
    """LRP the whole model, salient attention its decomposition."""
    vit, before, seen, solve = build_vit().float(), states(), [], torch.linalg.eigh
    if name == "salient_attention":
        monkeypatch.setattr(torch.linalg, "eigh", lambda *args: seen.append(states()) or solve(*args))
    else:
        vit.blocks[0].register_forward_hook(lambda *_: seen.append(states()))
    make(name)(vit, images.float(), 1)
    assert seen
    assert all(state == FULL for state in seen)
    assert states() == before
