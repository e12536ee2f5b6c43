"""The sanity checks against loops that randomise by hand, and against quantus on the same models."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.stats import entropy, spearmanr

from salvit.metrics import Case, ParameterRandomisation, RandomLogit, SmoothParameterRandomisation
from salvit.metrics.functional.similarity import rank_correlation
from salvit.vit.randomise import model_parts, randomise
from tests.metrics.test_faithfulness import TARGETS, images_and_heatmaps, tiny_vit
from tests.registry import make

ORDERS = {"top_down": ["head", "block 1", "block 0", "embedding"]}
ORDERS["bottom_up"] = ORDERS["top_down"][::-1]


def case_of(method, vit=None, target=TARGETS):
    vit, (images, _) = vit or tiny_vit(), images_and_heatmaps(0)
    extractor = make(method)

    def explain(images, target=target):
        return extractor(vit, images, target).mean(1)

    return Case(vit, images, target, explain(images), explain, {})


def scored(metric, case):
    metric = metric.for_model(case.vit).set_dtype(torch.float64)
    metric.score(case)
    return metric


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("method", ["input_gradient", "rollout"])
def test_the_curve_agrees_with_copies_that_are_randomised_one_part_after_another(method, order):
    case = case_of(method)
    metric = scored(ParameterRandomisation(order, seed=2), case)
    assert metric.parts == ORDERS[order]
    vit, curve = deepcopy(case.vit), []
    for part in ORDERS[order]:
        randomise(vit, part, seed=2)
        maps = make(method)(vit, case.images, TARGETS)[:, 0]
        pairs = zip(case.heatmaps.flatten(1), maps.flatten(1), strict=True)
        curve.append([spearmanr(before, after).statistic for before, after in pairs])
    np.testing.assert_allclose(metric.rows()[:, :-1].T, curve, atol=1e-12)
    np.testing.assert_allclose(metric.curve(), np.mean(curve, 1), atol=1e-12)
    scores = metric.per_image()
    np.testing.assert_allclose(scores["MPRT"], np.mean(curve, 0), atol=1e-12)
    np.testing.assert_allclose(scores["MPRT_last"], curve[-1], atol=1e-12)
    for index in range(3):
        before, after = (maps_to_pixels(one[index]) for one in (case.heatmaps, maps))
        rise = bins_entropy(after) / bins_entropy(before) - 1
        assert scores["eMPRT"][index].item() == pytest.approx(rise, abs=1e-12)


def maps_to_pixels(heatmap):
    return torch.nn.functional.interpolate(heatmap[None, None], (16, 16), mode="bilinear")[0, 0].numpy()


def bins_entropy(heatmap):
    return entropy(np.histogram(heatmap, 100)[0])


@pytest.fixture
def quantus(monkeypatch):
    """The package, which randomises models as we do."""
    package = pytest.importorskip("quantus", exc_type=ImportError)
    from quantus.helpers.model.pytorch_model import PyTorchModel

    def models(self, order, seed):
        vit = deepcopy(self.model)
        for part in model_parts(vit):
            randomise(vit, part, seed)
            yield part, vit

    monkeypatch.setattr(PyTorchModel, "get_random_layer_generator", models)
    monkeypatch.setattr(PyTorchModel, "random_layer_generator_length", 4)
    # Only of float32 models, and only for scores that are not compared.
    monkeypatch.setattr(PyTorchModel, "predict", lambda self, images, **_: np.ones((len(images), 10)))
    return package


def arrays(case):
    """What quantus takes: images, classes, maps, and a function that explains."""

    def explain(model, inputs, targets, **_):
        images, classes = torch.as_tensor(inputs), torch.as_tensor(targets)
        return make("input_gradient")(model, images, classes).numpy()

    batch = {"x_batch": case.images.numpy(), "y_batch": case.target.numpy()}
    return {"model": case.vit, **batch, "a_batch": case.heatmaps[:, None].numpy(), "explain_func": explain}


def test_parameter_randomisation_agrees_with_quantus(quantus):
    case, plain = case_of("input_gradient"), {"seed": 1, "disable_warnings": True, "normalise": False}
    scores = scored(ParameterRandomisation(seed=1), case)
    curve = quantus.MPRT(similarity_func=quantus.correlation_spearman, **plain)(**arrays(case))
    np.testing.assert_allclose(
        scores.rows()[:, :-1].T, [curve[part] for part in ORDERS["top_down"]], atol=1e-6
    )
    from quantus.functions.complexity_func import discrete_entropy

    efficient = quantus.EfficientMPRT(
        complexity_func=discrete_entropy, complexity_func_kwargs={"n_bins": 100}, **plain
    )
    np.testing.assert_allclose(scores.per_image()["eMPRT"], efficient(**arrays(case)), atol=1e-6)


def test_random_logit_agrees_with_quantus(quantus):
    vit, target = tiny_vit(), torch.tensor([0, 1, 1])
    vit.head.weight.data, vit.head.bias.data = vit.head.weight.data[:2], vit.head.bias.data[:2]
    vit.num_classes = vit.head.out_features = 2
    case = case_of("input_gradient", vit, target)  # of two classes the other one is known
    theirs = quantus.RandomLogit(
        similarity_func=quantus.correlation_spearman, num_classes=2, disable_warnings=True, normalise=False
    )
    expected = theirs(**arrays(case))
    np.testing.assert_allclose(scored(RandomLogit(), case).per_image(), expected, atol=1e-6)


def test_the_smooth_test_averages_over_noisy_images():
    case, seed = case_of("input_gradient"), 3
    metric = scored(SmoothParameterRandomisation(samples=4, noise=0.2, seed=seed), case)
    assert metric.parts == ORDERS["bottom_up"]

    def smooth(vit):
        generator, total = torch.Generator().manual_seed(seed), 0
        for _ in range(4):
            noise = torch.randn(3, 16, 16, generator=generator).double()
            noisy = [one + 0.2 * (one.max() - one.min()) * noise for one in case.images]
            total = total + make("input_gradient")(vit, torch.stack(noisy), TARGETS)[:, 0]
        return total

    before, vit = smooth(case.vit), deepcopy(case.vit)
    for part in ORDERS["bottom_up"]:
        randomise(vit, part, seed)
        expected = rank_correlation(before, smooth(vit))
    np.testing.assert_allclose(metric.per_image()["sMPRT_last"], expected, atol=1e-12)
    with pytest.raises(ValueError, match="samples is 0"):
        SmoothParameterRandomisation(samples=0)
    with pytest.raises(ValueError, match='order must be "top_down" or "bottom_up"; got "up"'):
        ParameterRandomisation("up")


def test_methods_that_ignore_the_model_or_the_class_are_seen():
    prior = case_of("random")
    assert scored(ParameterRandomisation(), prior).curve().tolist() == pytest.approx([1] * 4)
    assert scored(ParameterRandomisation(), prior).per_image()["eMPRT"].tolist() == [0] * 3
    assert scored(RandomLogit(), case_of("rollout")).per_image().tolist() == pytest.approx([1] * 3)
    assert (scored(RandomLogit(), case_of("agcam")).per_image() < 0.999).all()


def test_the_model_is_as_before_also_in_inference_mode_and_with_gradients_on():
    vit = tiny_vit().requires_grad_(True)
    case = case_of("agcam", vit)
    before = [parameter.clone() for parameter in vit.parameters()]
    with torch.inference_mode():
        scored(ParameterRandomisation(), case)
    assert all(old.equal(new) for old, new in zip(before, vit.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in vit.parameters())


def test_correlation_of_constant_maps_and_of_ties():
    ramp, flat, broken = torch.arange(6.0), torch.ones(6), torch.tensor([torch.nan, 1, 2, 3, 4, 5])
    maps, others = (
        torch.stack([ramp, ramp, flat, ramp, ramp // 2]),
        torch.stack([-ramp, flat, ramp, broken, ramp]),
    )
    found = rank_correlation(maps.view(5, 2, 3), others.view(5, 2, 3))
    assert found[:2].tolist() == pytest.approx([-1, 0])
    assert found.isnan().tolist() == [False, False, True, True, False]
    assert found[4].item() == pytest.approx(spearmanr(ramp // 2, ramp).statistic)
    with pytest.raises(ValueError, match=r"shapes \(1, 2\) and \(2, 1\)"):
        rank_correlation(torch.ones(1, 2), torch.ones(2, 1))


def test_one_class_is_an_error():
    vit = tiny_vit()
    vit.num_classes, vit.head = 1, torch.nn.Linear(24, 1).double().eval()
    with pytest.raises(ValueError, match="RandomLogit needs a model with two classes"):
        RandomLogit().score(case_of("input_gradient", vit, torch.zeros(3, dtype=torch.long)))
