import pytest
import torch

from salvit.extractors import METHODS
from salvit.extractors.cp import cp_als
from salvit.extractors.tf32 import _switches, without_tf32
from tests.extractors.conftest import build_vit


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
        assert states() == FULL
        with without_tf32():
            assert states() == FULL
        assert states() == FULL
    assert states() == before
    assert torch.get_float32_matmul_precision() == "high"
    with pytest.raises(KeyboardInterrupt), without_tf32():
        raise KeyboardInterrupt
    assert states() == before


@pytest.mark.parametrize("name", ["relevance_lrp", "partial_lrp", "full_lrp"])
@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "init_values": 0.1}])
def test_lrp_is_computed_without(name, options, images):
    vit, before, seen = build_vit(**options).float(), states(), []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: seen.append(states()))
    try:
        METHODS[name]()(vit, images.float(), 1)
    finally:
        handle.remove()
    assert seen
    assert all(state == FULL for state in seen)
    assert states() == before


def test_the_decomposition_is_computed_without(monkeypatch):
    seen, before, solve = [], states(), torch.linalg.eigh

    def watched(*args, **kwargs):
        seen.append(states())
        return solve(*args, **kwargs)

    monkeypatch.setattr(torch.linalg, "eigh", watched)
    cp_als(torch.rand(1, 3, 4, 5), rank=2)
    assert seen
    assert all(state == FULL for state in seen)
    assert states() == before


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
