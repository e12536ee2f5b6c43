"""What tells models apart whose results must not be taken for each other's."""

import pytest
import timm
import torch

from salvit.extractors import METHODS
from salvit.vit import describe_vit, load_vit
from tests.extractors.conftest import build_vit

SETTINGS = [
    ({"global_pool": "avg", "class_token": False, "reg_tokens": 2}, "pool_include_prefix", True),
    ({}, "blocks.0.attn.scale", 1.0),
    ({}, "norm.eps", 1e-3),
    ({}, "blocks.1.attn.num_heads", 6),
]


@pytest.mark.parametrize(("options", "name", "value"), SETTINGS, ids=[name for _, name, _ in SETTINGS])
def test_settings_that_are_no_weights(options, name, value):
    vit = build_vit(**options)
    before = describe_vit(vit)
    assert describe_vit(build_vit(**options)) == before
    module, _, attribute = name.rpartition(".")
    setattr(vit.get_submodule(module), attribute, value)
    assert describe_vit(vit) != before


def test_buffers_that_are_not_saved():
    options = {"img_size": 32, "depth": 1, "num_classes": 2}
    vit = timm.create_model("vit_small_patch16_dinov3", **options).eval()
    before = describe_vit(vit)
    unsaved = [buffer for name, buffer in vit.named_buffers() if name not in vit.state_dict()]
    unsaved[0].mul_(1.5)
    after = describe_vit(vit)
    assert after != before
    assert after["weights_sha256"] == before["weights_sha256"]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_small_patch16_dinov3", (48, 64)),
        ("eva02_tiny_patch14_224", (56, 112)),
        ("naflexvit_base_patch16_gap", (48, 64)),
    ],
)
def test_use_is_no_change(name, size):
    vit = load_vit(name, pretrained=False, depth=1, num_classes=2)
    before = describe_vit(vit)
    METHODS["input_gradient"]()(vit, torch.rand(1, 3, *size), 1)
    vit.blocks[0].attn.fused_attn = False
    vit.set_grad_checkpointing(True)
    assert describe_vit(vit) == before
