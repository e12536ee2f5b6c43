import copy

import numpy as np
import pytest
import torch
from timm.layers import GluMlp
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import DiffAttention

from salvit.extractors.lrp import engine, methods
from salvit.extractors.lrp.methods import FullLRP, PartialLRP, RelevanceLRP
from salvit.extractors.spelling import spell
from salvit.vit import load_vit
from tests.extractors import lrp_reference as slow
from tests.extractors.conftest import build_vit
from tests.extractors.golden_vit import load_golden

ALL = [RelevanceLRP(0), RelevanceLRP(), PartialLRP(), FullLRP()]
BESIDE = {
    "plain": {},
    "registers, LayerScale, normed queries, keys": {"reg_tokens": 2, "init_values": 0.3, "qk_norm": True},
    "positions of patches only": {"no_embed_class": True, "reg_tokens": 1},
    "norms everywhere": {"pre_norm": True, "fc_norm": True, "scale_attn_norm": True, "scale_mlp_norm": True},
    "no biases": {"qkv_bias": False, "proj_bias": False},
    "mean, no class token": {"class_token": False, "global_pool": "avg"},
    "mean beside a class token": {"global_pool": "avg", "fc_norm": False, "reg_tokens": 1},
    "mean over all": {"global_pool": "avg", "pool_include_prefix": True},
    "distilled": {"kind": VisionTransformerDistilled},
}


def build(**kwargs):
    return build_vit(**{"img_size": (32, 48), "dynamic_img_size": False, **kwargs})


@pytest.fixture
def vit():
    return build(seed=5)


def close(maps, expected, relative=1e-8):
    maps, expected = np.asarray(maps), np.asarray(expected)
    assert maps.shape == expected.shape
    sides = tuple(range(1, maps.ndim))
    largest = np.abs(expected).max(sides)
    assert (largest > 0).all(), "a reference of zeros shows nothing"
    error = np.abs(maps - expected).max(sides) / largest
    assert (error < relative).all(), error


@pytest.mark.parametrize("options", BESIDE.values(), ids=BESIDE)
def test_every_method_matches_its_slow_reference(images, options):
    vit, targets = build(**options), [1, 4, 0]
    pairs = list(zip(images, targets, strict=True))

    def each(function, **kwargs):
        return torch.stack([function(vit, image, target, **kwargs) for image, target in pairs])

    target = torch.tensor(targets)
    for start in (0, 1, 2):
        close(RelevanceLRP(start)(vit, images, target), each(slow.relevance_lrp, start_layer=start))
    for per_head in (False, True):
        close(PartialLRP(per_head)(vit, images, target), each(slow.partial_lrp, per_head=per_head))
    expected = each(slow.relevance_lrp, start_layer=1, per_head=True)
    close(RelevanceLRP(per_head=True)(vit, images, target), expected)
    close(FullLRP()(vit, images, target), each(slow.full_lrp))


@pytest.mark.parametrize("grid", ["square", "rect"])
@pytest.mark.parametrize(
    ("name", "extractor"),
    [
        ("relevance_lrp_start0", RelevanceLRP(0)),
        ("relevance_lrp_start1", RelevanceLRP(1)),
        ("relevance_lrp_start1", RelevanceLRP(1, precision="double")),
        ("partial_lrp", PartialLRP()),
        ("full_lrp", FullLRP()),
        ("full_lrp", FullLRP("model")),
    ],
)
def test_golden_outputs(grid, name, extractor):
    vit, images, targets, golden = load_golden(f"vit_{grid}")
    expected = golden[f"expected/{name}"]
    agreement = correlations(extractor(vit, images, targets)[:, 0], expected)
    if grid == "square" and type(extractor) is RelevanceLRP and extractor.precision == "model":
        # The first image has a sum so near zero that rounding its float32 activations moves its map.
        assert agreement.pop(0) > 0.98
    assert min(agreement) > (1 - 1e-9 if getattr(extractor, "precision", "") == "double" else 0.999)
    close(extractor(vit.double(), images.double(), targets)[:, 0], expected, relative=1e-9)


def correlations(maps, expected):
    assert maps.dtype == torch.float32
    pairs = zip(maps.flatten(1), expected.reshape(len(maps), -1), strict=True)
    return [np.corrcoef(*pair)[0, 1] for pair in pairs]


@pytest.mark.parametrize(
    ("name", "depth", "count", "method"),
    [("vit_tiny_patch16_224", 6, 16, FullLRP), ("eva02_tiny_patch14_224", 6, 10, RelevanceLRP)],
)
def test_what_rounding_loses_is_kept_where_the_forward_pass_is_in_double(name, depth, count, method):
    """On a model of standard blocks and one of others, whose random weights make many sums nearly vanish."""
    torch.manual_seed(0)
    vit = load_vit(name, pretrained=False, img_size=112, depth=depth, num_classes=10)
    images = torch.randn(count, 3, 112, 112)
    targets = vit(images).argmax(-1)
    exact = method(precision="model")(copy.deepcopy(vit).double(), images.double(), targets)[:, 0].numpy()
    maps = method(precision="double")(vit, images, targets)[:, 0]
    assert min(correlations(maps, exact)) > 1 - 1e-9
    close(maps, exact, relative=5e-5)
    assert min(correlations(method(precision="model")(vit, images, targets)[:, 0], exact)) < 1 - 1e-7


@pytest.mark.parametrize("precision", ["model", "double"])
@pytest.mark.parametrize("part", ["blocks.1", "blocks.1.attn", "blocks.1.attn.qkv", "norm"])
def test_the_model_explained_is_the_one_with_its_hooks(vit, images, part, precision):
    vit, images, extractor = vit.float(), images.float(), FullLRP(precision)
    plain = extractor(vit, images, 1)
    scale = torch.linspace(0.5, 2, vit.get_submodule(part)(torch.rand(1, 25, 24)).shape[-1])
    handle = vit.get_submodule(part).register_forward_hook(
        lambda module, args, output: output * scale.to(output)
    )
    assert not torch.allclose(extractor(vit, images, 1), plain, rtol=1e-2)
    handle.remove()
    torch.testing.assert_close(extractor(vit, images, 1), plain)


@pytest.mark.parametrize("extractor", ALL, ids=repr)
@pytest.mark.parametrize("options", [{}, {"mlp_layer": GluMlp}], ids=["standard", "other make"])
def test_full_precision_under_autocast_and_in_inference_mode(images, extractor, options):
    vit, images = build(seed=5, **options).float().requires_grad_(True), images.float()
    expected = extractor(vit, images, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = extractor(vit, images, 1)
    torch.testing.assert_close(maps, expected, rtol=0, atol=0)
    with torch.inference_mode():
        maps = extractor(vit, images.clone(), 1)
    torch.testing.assert_close(maps, expected, rtol=0, atol=0)


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize("extractor", ALL[1:], ids=repr)
def test_models_without_rules_are_refused(extractor):
    for vit, reason in (
        (build(attn_layer=DiffAttention, num_heads=2), "differential attention"),
        (build().half(), r"this model's are torch\.float16"),
        (build(seed=5), r"this model's are torch\.float32 and torch\.float64"),
    ):
        if "and" in reason:
            vit.blocks[1].float()
        vit.forward = interrupt  # nothing may be computed
        images = torch.randn(1, 3, 32, 48, dtype=next(vit.parameters()).dtype)
        with pytest.raises(ValueError, match=f"{spell(extractor)}.*{reason}"):
            extractor(vit, images)


@pytest.mark.parametrize("precision", ["model", "double"])
def test_an_image_of_one_value_has_no_relevant_pixel(vit, images, precision):
    vit, images = vit.float(), images.float()
    expected = FullLRP(precision)(vit, images, 2)
    images[1] = 0.3
    maps = FullLRP(precision)(vit, images, 2)
    assert not maps[1].any()
    torch.testing.assert_close(maps[::2], expected[::2], rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_pixels_need_a_plain_patch_embedding(images):
    vit = build(dynamic_img_pad=True)
    with pytest.raises(ValueError, match="patch embedding"):
        FullLRP()(vit, images)
    assert RelevanceLRP()(vit, images).shape == (3, 1, 4, 6)


@pytest.mark.parametrize("extractor", ALL, ids=repr)
def test_images_of_a_batch_are_explained_in_parts_that_fit_into_memory(vit, images, extractor, monkeypatch):
    batch = extractor(vit, images)
    monkeypatch.setattr(methods, "_TAPE_BYTES", 1)
    close(extractor(vit, images), batch, relative=1e-10)


def test_denormal_numbers_are_kept_after_an_error(vit, images, monkeypatch):
    monkeypatch.setattr(engine._Tape, "_joined", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RelevanceLRP()(vit, images, 1)
    assert float(torch.tensor(1e-310, dtype=torch.float64) * 2) > 0


def test_precision_must_be_known():
    with pytest.raises(ValueError, match="precision must be one of model, double; got 'float64'"):
        FullLRP("float64")
