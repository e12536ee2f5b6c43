"""What holds for every method: batches, precision, grad modes, and a model left as it was."""

import pickle

import pytest
import torch

from salvit.extractors import METHODS, RISE, CenterPrior, RandomMap, TokenCut, parse_method
from salvit.vit import weights_hash

SLOW = {"integrated_gradients", "rise", "salient_attention", "scorecam", "smoothgrad", "xrai"}
NAMES = [name for name in METHODS if name not in SLOW]
WITH_OPTIONS = [
    *(f"{name}:per_head=true" for name in ("rollout", "attn_gradcam", "generic_attention", "tokentm")),
    "attention_gradient:block=mean",
    "relevance_lrp:start_layer=0,per_head=true",
    "attn_lrp:of=pixels",
    "attn_lrp:of=attention",
    "integrated_gradients:steps=3",
    "smoothgrad:samples=3",
    "rise:masks=6,batch_size=4",
]
EVERY = [parse_method(name) for name in (*NAMES, *WITH_OPTIONS)]
LRP = [extractor for extractor in EVERY if type(extractor).__name__.endswith("LRP")]
EXTRACTORS = [extractor for extractor in EVERY if extractor not in LRP]
GRADIENT = [extractor for extractor in EXTRACTORS if extractor.class_specific and type(extractor) is not RISE]
COMPUTED = [extractor for extractor in EXTRACTORS if type(extractor) not in (RandomMap, CenterPrior)]
every = pytest.mark.parametrize("extractor", EVERY, ids=repr)
every_computed = pytest.mark.parametrize("extractor", COMPUTED, ids=repr)
every_that_may_fail = pytest.mark.parametrize("extractor", GRADIENT + LRP, ids=repr)
every_gradient = pytest.mark.parametrize("extractor", GRADIENT, ids=repr)


@every
def test_batch_of_n_equals_n_singles(vit, images, extractor):
    maps = extractor(vit, images, torch.tensor([4, 0, 2]))
    singles = [extractor(vit, images[i : i + 1], target) for i, target in enumerate((4, 0, 2))]
    tolerance = 1e-10 * max(1.0, float(maps.abs().max()))
    torch.testing.assert_close(maps, torch.cat(singles), rtol=0, atol=tolerance)
    assert maps.shape[:2] == (3, extractor.num_channels(vit))
    assert maps.shape[2:] in [(4, 6), (32, 48)]
    assert maps.dtype == torch.float64
    assert not maps.requires_grad
    assert maps.isfinite().all()


@every
def test_target_is_the_predicted_class_by_default(vit, images, extractor):
    predicted = vit(images).argmax(-1)
    maps = extractor(vit, images)
    torch.testing.assert_close(maps, extractor(vit, images, predicted), rtol=0, atol=0)
    other = extractor(vit, images, (predicted + 1) % 5)
    assert torch.equal(maps, other) != extractor.class_specific


@every_computed
def test_float32_and_bfloat16_autocast(vit, images, extractor):
    exact = extractor(vit, images, 2)
    single = extractor(vit.float(), images.float(), 2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = extractor(vit, images.float(), 2)
    assert single.dtype == mixed.dtype == torch.float32
    assert correlation(single, exact) > 0.999999
    # Of TokenCut an edge between two patches is there or not.
    assert correlation(mixed, single) > (0.99 if isinstance(extractor, TokenCut) else 0.999)


def correlation(one, other):
    return torch.corrcoef(torch.stack([one.flatten().double(), other.flatten().double()]))[0, 1]


@every
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_grad_mode(vit, images, extractor, mode):
    expected = extractor(vit, images)
    with mode():
        maps = extractor(vit, images.clone(), vit(images).argmax(-1))
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-12)


def state(vit):
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in vit.modules()]
    modules = [(module.training, getattr(module, "fused_attn", None)) for module in vit.modules()]
    return hooks, modules, weights_hash(vit), [(p.requires_grad, p.grad) for p in vit.parameters()]


@every
@pytest.mark.parametrize("trainable", [False, True])
def test_the_model_is_left_as_it_was(vit, images, extractor, trainable):
    expected = extractor(vit, images)
    vit.requires_grad_(trainable)
    before = state(vit)
    torch.testing.assert_close(extractor(vit, images), expected, rtol=0, atol=1e-12)
    assert state(vit) == before
    assert not images.requires_grad


@every_that_may_fail
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_leaks_when_the_model_raises(vit, images, extractor, error):
    def fail(*_):
        raise error

    handle = vit.blocks[-1].mlp.register_forward_hook(fail)
    before = state(vit)
    grad = torch.is_grad_enabled()
    with pytest.raises(error):
        extractor(vit, images)
    assert state(vit) == before
    assert torch.is_grad_enabled() == grad
    handle.remove()


@every_gradient
def test_half_precision_model(vit, images, extractor):
    maps = extractor(vit.bfloat16(), images.bfloat16())
    assert maps.isfinite().all()
    assert maps.dtype == torch.float32


@pytest.mark.parametrize("extractor", COMPUTED + LRP, ids=repr)
def test_a_model_that_gives_nan_is_not_explained(vit, images, extractor):
    vit.blocks[1].mlp.fc1.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        extractor(vit, images, 1)


@every
def test_repr_and_pickle(extractor):
    assert repr(pickle.loads(pickle.dumps(extractor))) == repr(extractor)
