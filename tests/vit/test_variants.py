import math

import pytest
import torch

from salvit.callbacks.backbone import BackboneWriter
from salvit.modules import ClassificationModule
from salvit.vit import build_vit, describe_vit, load_vit
from tests.extractors.conftest import spread
from tests.tiny import tiny_popout

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 4}
VARIANTS = [
    {"pos_embed": "sincos"},
    {"pos_embed": "integer"},
    {"residual": False},
    {"norm": False},
    {"pos_embed": "sincos", "residual": False, "norm": False, "num_heads": 8},
]
every_variant = pytest.mark.parametrize("options", VARIANTS, ids=str)


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_sines_and_cosines_of_the_token():
    table = build_vit(**{**SMALL, "pos_embed": "sincos"}).pos_embed
    assert table.shape == (1, 17, 8)
    for token in (0, 1, 16):
        for channel in (0, 1, 6, 7):
            angle = token / 10000 ** (2 * (channel // 2) / 8)
            wave = math.cos(angle) if channel % 2 else math.sin(angle)
            assert float(table[0, token, channel]) == pytest.approx(wave, abs=1e-6)


@pytest.mark.parametrize("norm", [True, False])
def test_layer_norm_takes_integer_positions_out(images, norm):
    torch.manual_seed(0)
    vit = spread(build_vit(**SMALL, pos_embed="integer", norm=norm))
    with_positions = vit(images.double())
    vit.pos_embed.zero_()
    difference = float((vit(images.double()) - with_positions).abs().max())
    assert difference < 1e-12 if norm else difference > 0.01


def test_without_residual_connections_only_attention_carries_a_token_on(images):
    torch.manual_seed(0)
    vit = build_vit(**SMALL, residual=False, norm=False).eval()
    tokens = torch.randn(1, 17, 8)
    block = vit.blocks[0]
    torch.testing.assert_close(block(tokens), block.mlp(block.attn(tokens)))
    block.attn.qkv.weight.data.zero_()
    torch.testing.assert_close(block(tokens), block(torch.randn(1, 17, 8)))


@every_variant
def test_training_keeps_fixed_positions_and_changes_all_else(options, make_trainer):
    torch.manual_seed(0)
    module = ClassificationModule(10, vit={**SMALL, **options}, warmup_epochs=0)
    before = {name: value.clone() for name, value in module.vit.state_dict().items()}
    make_trainer(limit_val_batches=0).fit(module, tiny_popout())
    unchanged = [name for name, value in module.vit.state_dict().items() if torch.equal(value, before[name])]
    # Positions that every LayerNorm takes out have no gradient, and a vanishing one may leave other weights.
    assert ("pos_embed" in unchanged) == ("pos_embed" in options)
    assert len(unchanged) < len(before) / 2


@every_variant
def test_a_variant_is_loaded_again(options, make_trainer, popout, images, tmp_path):
    """From its weights file and from a checkpoint, without being told what it is."""
    torch.manual_seed(0)
    module = ClassificationModule(10, vit={**SMALL, **options})
    path = tmp_path / "mine.safetensors"
    trainer = make_trainer(callbacks=[BackboneWriter(str(path))])
    trainer.test(module, popout, verbose=False)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    logits = module.eval()(images)
    torch.testing.assert_close(load_vit(path)((images - 0.5) / 0.5), logits, atol=5e-3, rtol=5e-3)
    again = ClassificationModule.load_from_checkpoint(tmp_path / "last.ckpt").eval()
    torch.testing.assert_close(again(images), logits)
    trained_on = ClassificationModule(10, vit=str(path))
    assert ("pos_embed" in dict(trained_on.vit.named_parameters())) == ("pos_embed" not in options)


def test_variants_are_different_models():
    descriptions = []
    for options in ({}, {"residual": False}, {"norm": False}, {"pos_embed": "sincos"}):
        torch.manual_seed(0)
        descriptions.append(str(describe_vit(build_vit(**SMALL, **options))))
    assert len(set(descriptions)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "num_heads=3 does not divide embed_dim=8, the width of the whole token"),
        ({"pos_embed": "rotary"}, "pos_embed must be one of learn, none, sincos, integer; got 'rotary'"),
        ({"dpeth": 3}, "vit: .*unexpected keyword argument 'dpeth'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        ClassificationModule(10, vit={**SMALL, **options})


def test_as_many_heads_as_channels(images):
    assert build_vit(**{**SMALL, "embed_dim": 4, "num_heads": 4}, num_classes=10)(images).shape == (2, 10)
