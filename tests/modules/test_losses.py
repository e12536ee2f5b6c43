import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salvit.metrics import functional
from salvit.modules.losses import SaliencyLoss


def maps(seed=0, batch=3, size=(9, 12), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    pred, density = torch.rand(2, batch, *size, generator=generator, dtype=dtype)
    return pred, density**4 / (density**4).sum((1, 2), keepdim=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(1e-6, 1e6), holes=st.floats(0, 0.9))
def test_kld_is_the_metric(seed, scale, holes):
    pred, density = maps(seed)
    density = density * (density > density.flatten(1).quantile(holes, 1)[:, None, None])
    expected = functional.kld(pred, density).mean()
    torch.testing.assert_close(SaliencyLoss()(pred * scale, density), expected, atol=1e-5, rtol=0)


def test_kld_of_a_prediction_with_zeros_and_cc_are_the_metrics():
    pred, density = maps()
    loss = SaliencyLoss(kld=0, cc=1)(pred * 1e-4, density)
    torch.testing.assert_close(loss, -functional.cc(pred, density).mean(), atol=1e-5, rtol=0)
    pred[:, :4] = 0
    expected = functional.kld(pred, density).mean()
    assert expected > 1
    torch.testing.assert_close(SaliencyLoss()(pred, density), expected, atol=1e-5, rtol=1e-6)
    found = SaliencyLoss()(pred.float(), density.float())
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=0)


def test_nss_is_the_metric_where_the_density_counts_fixations():
    pred, _ = maps()
    fixations = [torch.tensor([[0.0, 0.0], [11.0, 8.0], [11.0, 8.0]]), torch.tensor([[3.0, 2.0]])]
    counts = torch.stack([functional.fixation_counts([points], [(9, 12)], (9, 12)) for points in fixations])
    # The metric's standard deviation is the sample's: one less in the denominator.
    expected = functional.nss(pred[:2], fixations).mean() * (108 / 107) ** 0.5
    loss = SaliencyLoss(kld=0, nss=1)(pred[:2], counts.double())
    torch.testing.assert_close(loss, -expected, atol=1e-5, rtol=0)


def test_weights_add_up():
    pred, density = maps()
    terms = [SaliencyLoss(1, 0, 0), SaliencyLoss(0, 1, 0), SaliencyLoss(0, 0, 1)]
    expected = sum(weight * term(pred, density) for weight, term in zip((10, 2, 0.5), terms, strict=True))
    torch.testing.assert_close(SaliencyLoss(kld=10, cc=2, nss=0.5)(pred, density), expected)


@pytest.mark.parametrize(
    "weights", [{}, {"cc": 1.0}, {"nss": 1.0}, {"kld": 0.0, "cc": 1.0}, {"kld": 0.0, "nss": 1.0}]
)
def test_gradient(weights):
    pred, density = maps(batch=2, size=(3, 4))
    density[1] = 0
    pred.requires_grad_()
    assert torch.autograd.gradcheck(SaliencyLoss(**weights), (pred, density), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("counted", [2, 0])
def test_an_image_without_density_does_not_count(counted):
    pred, density = maps()
    expected = SaliencyLoss(cc=1, nss=1)(pred[:2], density[:2]) if counted else torch.tensor(0.0).double()
    density[counted:] = 0
    pred.requires_grad_()
    loss = SaliencyLoss(cc=1, nss=1)(pred, density)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert pred.grad.any(dim=(1, 2)).tolist() == [counted > 0, counted > 0, False]


@pytest.mark.parametrize("prediction", [0.0, 1.0])
def test_constant_predictions_have_finite_gradients(prediction):
    _, density = maps(dtype=torch.float32)
    pred = torch.full_like(density, prediction, requires_grad=True)
    loss = SaliencyLoss(cc=1, nss=1)(pred, density)
    loss.backward()
    torch.testing.assert_close(loss.double(), functional.kld(pred, density).mean(), atol=1e-4, rtol=0)
    assert pred.grad.isfinite().all()
    assert (pred.grad.abs().max() > 0) == (prediction > 0)


def test_autocast_does_not_touch_it():
    pred, density = maps(size=(60, 80), dtype=torch.float32)
    expected = SaliencyLoss(cc=1, nss=1)(pred.bfloat16(), density)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SaliencyLoss(cc=1, nss=1)(pred.bfloat16(), density)
    assert loss.dtype == torch.float32
    assert loss == expected
    torch.testing.assert_close(loss, SaliencyLoss(cc=1, nss=1)(pred, density), atol=1e-2, rtol=0)


@pytest.mark.parametrize("weights", [{"kld": 0.0}, {"cc": -0.1}, {"nss": float("nan")}])
def test_bad_weights_and_shapes(weights):
    with pytest.raises(ValueError, match=f"weights must be.*{next(iter(weights))}="):
        SaliencyLoss(**weights)
    pred, density = maps()
    with pytest.raises(ValueError, match=r"pred is \[2, 9, 12\] but density \[3, 9, 12\]"):
        SaliencyLoss()(pred[:2], density)
