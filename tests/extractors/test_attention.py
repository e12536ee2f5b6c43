import copy
from typing import Any

import jsonargparse
import numpy as np
import pytest
import timm
import torch
from timm.layers import LayerNorm

from salvit.extractors import METHODS, Extractor, RawAttention, extract
from tests.extractors import slow_vit
from tests.registry import OPTIONS


def reference_attention(vit, images, block):
    """A block's attention [B, heads, N, N], by hand."""
    maps = [torch.stack(slow_vit.run(vit, image).attention[block]) for image in images]
    return torch.stack(maps).detach().numpy()


@pytest.fixture
def square() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("block", "rows"), [(0, "class"), (2, "class"), (-1, "class"), (-1, "all")])
def test_matches_slow_reference(make_vit, square, block, rows):
    vit = make_vit(norm_layer=LayerNorm)
    read = slice(0, 1) if rows == "class" else slice(1, None)
    expected = reference_attention(vit, square, block)[:, :, read, 1:].mean(2).reshape(2, 3, 4, 4)
    assert expected.max() > 2 / 17, "the reference must be far from uniform to show a mistake"
    per_head = RawAttention(block, rows, per_head=True)(vit, square)
    np.testing.assert_allclose(per_head, expected, rtol=1e-10)
    np.testing.assert_allclose(
        RawAttention(block, rows)(vit, square), expected.mean(1, keepdims=True), rtol=1e-10
    )


def test_several_blocks_are_concatenated_in_order(vit, images):
    singles = [RawAttention(block, per_head=True)(vit, images) for block in range(3)]
    torch.testing.assert_close(RawAttention("all", per_head=True)(vit, images), torch.cat(singles, 1))
    extractor = RawAttention([-1, 0])
    assert extractor.num_channels(vit) == 2
    expected = torch.stack([singles[2].mean(1), singles[0].mean(1)], 1)
    torch.testing.assert_close(extractor(vit, images), expected)


def test_probabilities_are_not_renormalised(make_vit, images):
    vit = make_vit(reg_tokens=4)
    mass = RawAttention(per_head=True)(vit, images).sum((2, 3))
    assert (mass < 0.999).all()
    assert (mass > 0).all()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda images: images[0], ValueError, r"\[B, 3, H, W\].*\[3, 32, 48\]"),
        (lambda images: images[:0], ValueError, r"\[B, 3, H, W\] with B ≥ 1"),
        (lambda images: images.index_fill(0, torch.tensor(1), torch.nan), ValueError, r"images \[1\] .* NaN"),
        (lambda images: (images * 255).byte(), TypeError, "float tensor.*uint8"),
        (lambda images: images.numpy(), TypeError, "float tensor.*ndarray"),
        (lambda images: images[..., :30], ValueError, "multiples of the patch size"),
        (lambda images: images.to("meta"), ValueError, r"meta.*cpu"),
        (lambda images: images.float(), ValueError, r"float32.*float64"),
    ],
)
def test_bad_images(vit, images, spoil, error, message):
    with pytest.raises(error, match=message):
        RawAttention()(vit, spoil(images))


def test_bad_models(vit, images):
    with pytest.raises(ValueError, match=r"vit\.eval"):
        RawAttention()(copy.deepcopy(vit).train(), images)
    with pytest.raises(TypeError, match="compiled"):
        RawAttention()(torch.compile(vit), images)
    with pytest.raises(TypeError, match="ResNet is not a plain"):
        RawAttention()(timm.create_model("resnet10t").eval(), images)


def test_partly_compiled(make_vit, images):
    in_place, replaced = make_vit(), make_vit()
    in_place.blocks[0].compile()
    replaced.blocks[0] = torch.compile(replaced.blocks[0])
    for vit in (in_place, replaced):
        with pytest.raises(TypeError, match="compiled"):
            RawAttention()(vit, images)


@pytest.mark.parametrize("name", ["raw_attention", "agcam", "relevance_lrp"])
def test_within_a_function_that_is_compiled(vit, images, name):
    def doubled(images):
        return 2 * METHODS[name]()(vit, images + 1, 1)

    maps = torch.compile(doubled, backend="eager")(images)
    torch.testing.assert_close(maps, doubled(images), rtol=0, atol=0)


def test_options_are_stored_under_their_names():
    class Forgetful(RawAttention):
        def __init__(self, sharpness: float = 1.0):
            super().__init__()
            self.sharp = sharpness

    with pytest.raises(TypeError, match=r"Forgetful must store .*, as in self\.sharpness = sharpness"):
        repr(Forgetful())


class ClassSpecific(Extractor):
    """Shows what an extractor is given as its target."""

    class_specific = True

    def _maps(self, vit, images, target):
        self.seen = target
        return images.mean(1, keepdim=True)


def test_targets(vit, images):
    extractor = ClassSpecific()
    extractor(vit, images)
    assert extractor.seen is None
    extractor(vit, images, 3)
    assert extractor.seen.tolist() == [3, 3, 3]
    extractor(vit, images, torch.tensor([4, 0, 2], dtype=torch.int32))
    assert extractor.seen.tolist() == [4, 0, 2]
    assert extractor.seen.dtype == torch.int64


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, r"class 5 is outside 0 … 4"),
        (torch.tensor([0, 1]), r"one per image, \[3\]; got \[2\]"),
        (torch.tensor([0.0, 1.0, 2.0]), "integers"),
        ([1, None, 2], r"integers; got \[1, None, 2\]"),
        ("disc", "takes names"),
    ],
)
def test_bad_targets(vit, images, target, message):
    for extractor in (ClassSpecific(), RawAttention()):
        with pytest.raises(ValueError, match=message):
            extractor(vit, images, target)


class Careless(Extractor):
    """Gives what it is told to, whatever it has promised."""

    def __init__(self, give: Any):
        self.give = give

    def num_channels(self, vit):
        return 2

    def _maps(self, vit, images, target):
        return self.give


@pytest.mark.parametrize(
    ("give", "found"),
    [(torch.ones(3, 1, 4, 6), r"\[3, 1, 4, 6\]"), (torch.ones(3, 2, 5), r"\[3, 2, 5\]"), (None, "NoneType")],
)
def test_an_extractor_must_keep_its_promise(vit, images, give, found):
    with pytest.raises(ValueError, match=rf"must give maps .* here \[3, 2, h, w\]; it gave {found}"):
        Careless(give)(vit, images)
    assert Careless(torch.ones(3, 2, 4, 6))(vit, images).shape == (3, 2, 4, 6)


@pytest.mark.parametrize("name", METHODS)
def test_a_head_that_was_put_in_place_of_the_models_counts(make_vit, images, name):
    """`vit.head = nn.Linear(…)` leaves `vit.num_classes` as it was."""
    vit, announced = make_vit(), make_vit()
    announced.reset_classifier(9)
    announced.double().eval().requires_grad_(False)
    vit.head = copy.deepcopy(announced.head)
    extractor = METHODS[name](**OPTIONS.get(name, {}))
    for target in (None, 8):
        maps, expected = extractor(vit, images, target), extractor(announced, images, target)
        torch.testing.assert_close(maps, expected, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"class 9 is outside 0 … 8"):
        extractor(vit, images, 9)


def test_a_model_that_pools_nothing_explains_no_class(make_vit, images):
    vit = make_vit(global_pool="")
    with pytest.raises(ValueError, match='global_pool=""'):
        ClassSpecific()(vit, images)
    assert RawAttention()(vit, images).isfinite().all()


def test_no_classifier(make_vit, images):
    vit = make_vit(num_classes=0)
    with pytest.raises(ValueError, match="no classifier head"):
        ClassSpecific()(vit, images)
    with pytest.raises(ValueError, match="no classifier head: leave target out"):
        RawAttention()(vit, images, 0)


def test_extract_by_an_extractor(vit, images):
    maps = extract(vit, images, RawAttention(block=0))
    torch.testing.assert_close(maps, extract(vit, images, "raw_attention:block=0"), rtol=0, atol=0)
    with pytest.raises(ValueError, match="an extractor without options"):
        extract(vit, images, RawAttention(), block=0)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("raw_attention", {"block": None}, r"block should be a whole number or a list .* or all; got None"),
        ("center_prior", {"sigma": 1e-30}, "sigma must be 1e-09 or more"),
        ("rise", {"masks": 1.5}, r"masks should be a whole number; got 1\.5"),
        ("random", {"seed": -1}, "seed must be between"),
        ("rise", {"probability": 1.0}, "probability must be between 0 and 1"),
        ("scorecam", {"channels": 0}, "channels and batch_size must be at least 1"),
        ("unsupervised_map", {"mass": 1.1}, "mass must be in"),
        ("unsupervised_map", {"sigma": float("inf")}, "sigma must be positive and finite"),
        ("attention_gradient", {"block": "last"}, "block should be a whole number or mean; got last"),
        ("raw_attention", {"block": []}, "block is an empty list"),
        (["agcam", "rollout"], {}, "a method is text"),
    ],
)
def test_options_that_a_method_does_not_take(vit, images, method, options, message):
    with pytest.raises(ValueError, match=message):
        extract(vit, images, method=method, **options)


@pytest.mark.parametrize(
    "extractor",
    [RawAttention([0, 1.5]), RawAttention(True), METHODS["attention_gradient"](1.5), METHODS["rollout"]("0")],
    ids=repr,
)
def test_blocks_are_integers(vit, images, extractor):
    with pytest.raises(TypeError, match="a block is an integer"):
        extractor(vit, images)


def test_from_a_config():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--extractor", type=Extractor)
    config = {
        "class_path": "salvit.extractors.RawAttention",
        "init_args": {"block": [0, 1], "per_head": True},
    }
    chosen = parser.instantiate(parser.parse_object({"extractor": config})).extractor
    assert repr(chosen) == "RawAttention(block=[0, 1], rows='auto', per_head=True)"
