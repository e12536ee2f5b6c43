"""DAAM against the package of timm ViTs; tests/extractors/test_variants.py has its formula."""

import pytest
import torch

from salvit.extractors import DAAM
from salvit.vit import load_vit
from tests.registry import randomize

TARGETS = torch.tensor([4, 0, 2])


@pytest.mark.parametrize(
    "options", [{}, {"reg_tokens": 2}, {"global_pool": "avg"}], ids=["class token", "registers", "average"]
)
def test_maps_of_the_package(make_vit, images, options):
    package = pytest.importorskip("daam", exc_type=ImportError)
    vit = make_vit(**options)
    maps = DAAM()(vit, images, TARGETS)
    with package.DAAM(vit) as peer:
        expected = peer(images, target=TARGETS).maps[:, -1:]
    torch.testing.assert_close(maps, expected, rtol=1e-8, atol=1e-12)


def test_of_attention_pooling_the_blocks_alone_count(make_vit, images):
    """As many maps as the model has blocks: with values of zero in them nothing is left."""
    vit = make_vit(global_pool="map")
    assert DAAM()(vit, images, TARGETS).any()
    for block in vit.blocks:
        block.attn.qkv.weight[-24:] = 0
        block.attn.qkv.bias[-24:] = 0
    assert not DAAM()(vit, images, TARGETS).any()


def test_heads_of_attentions_side_by_side_all_count(images):
    options = {"img_size": (32, 48), "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3}
    vit = randomize(
        load_vit("vit_small_patch16_18x2_224", pretrained=False, num_classes=5, **options)
    ).double()
    whole = DAAM()(vit, images, TARGETS)
    for block in vit.blocks:
        block.attns[1].attn.qkv.weight.data[-24:] = 0
        block.attns[1].attn.qkv.bias.data[-24:] = 0
    assert not torch.allclose(DAAM()(vit, images, TARGETS), whole)
