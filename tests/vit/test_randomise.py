import pytest
import torch

from salvit.vit import load_vit
from salvit.vit.randomise import model_parts, randomise, weights_restored


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=3, num_classes=5)


def test_every_parameter_is_in_one_part(vit):
    parts = model_parts(vit)
    assert list(parts) == ["head", "block 2", "block 1", "block 0", "embedding"]
    found = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert sorted(found) == sorted(id(parameter) for parameter in vit.parameters())
    assert {id(parameter) for parameter in parts["block 1"]} == {
        id(one) for one in vit.blocks[1].parameters()
    }
    assert any(parameter is vit.pos_embed for parameter in parts["embedding"])
    assert any(parameter is vit.norm.weight for parameter in parts["head"])


def test_weights_of_one_part_become_noise_of_their_own_scale_and_come_back(vit):
    before = {name: parameter.clone() for name, parameter in vit.named_parameters()}

    def fail_inside():
        with weights_restored(vit):
            randomise(vit, "block 1", seed=1)
            for name, parameter in vit.named_parameters():
                inside = name.startswith("blocks.1.") and before[name].std() > 0
                assert parameter.equal(before[name]) != inside, name
            weight, old = vit.blocks[1].mlp.fc1.weight, before["blocks.1.mlp.fc1.weight"]
            torch.testing.assert_close(weight.std(), old.std(), rtol=0.02, atol=0)
            assert abs(torch.corrcoef(torch.stack([weight.flatten(), old.flatten()]))[0, 1]) < 0.02
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert all(parameter.equal(before[name]) for name, parameter in vit.named_parameters())


def test_the_seed_and_the_part_decide_what_is_drawn(vit):
    def drawn(parts, seed):
        with weights_restored(vit):
            for part in parts:
                randomise(vit, part, seed)
            return [block.attn.qkv.weight.clone() for block in vit.blocks]

    one, other = drawn(["head", "block 2", "block 1"], 0), drawn(["block 1", "block 2"], 0)
    assert all(a.equal(b) for a, b in zip(one, other, strict=True))
    assert not one[1].equal(one[2])
    assert not one[1].equal(drawn(["block 1"], 1)[1])
