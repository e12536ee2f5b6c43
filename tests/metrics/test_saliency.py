import math
import sys
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import EMD, NSS, SIM, InformationGain
from salvit.metrics.functional import cc, emd, information_gain, kld, nss, sim
from salvit.metrics.functional.maps import minmax_normalize, sum_normalize
from tests.metrics import mit_reference, reference
from tests.metrics.cases import batch, batches, examples

needs_pot = pytest.mark.skipif(find_spec("ot") is None, reason="needs POT, the extra emd")
plain_sim = partial(reference.sim, minmax_first=False)


@pytest.mark.parametrize(
    ("function", "expected", "atol"),
    [
        (cc, reference.cc, 1e-7),
        (kld, reference.kld, 1e-9),
        (sim, reference.sim, 1e-9),
        (partial(sim, minmax=False), plain_sim, 1e-9),
    ],
)
@examples
@given(batches)
def test_scores_of_a_density_agree_with_the_reference(function, expected, atol, case):
    pred, density, _ = case
    pred = pred - 0.2
    scores = [expected(s.tolist(), g.tolist()) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(function(pred, density), scores, atol=atol)


@pytest.mark.parametrize("duplicates", [True, False])
@examples
@given(batches)
def test_nss_agrees_with_the_reference(duplicates, case):
    pred, _, fixations = case
    pairs = zip(pred, fixations, strict=True)
    expected = [reference.nss(s.tolist(), xy.tolist(), duplicates) for s, xy in pairs]
    np.testing.assert_allclose(nss(pred, fixations, duplicates), expected, atol=1e-9)
    np.testing.assert_allclose(nss(8 * pred.double() - 3, fixations, duplicates), expected, atol=1e-9)


@examples
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_cc_ignores_scale_and_offset_but_not_the_sign(seed, scale, offset):
    pred, density, _ = batch(seed)
    torch.testing.assert_close(cc(scale * pred + offset, density), cc(pred, density), atol=1e-7, rtol=0)
    torch.testing.assert_close(cc(-scale * pred + offset, density), -cc(pred, density), atol=1e-7, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_a_constant_map_scores_zero_or_is_uniform(value):
    other, constant = torch.rand(1, 48, 64), torch.full((1, 48, 64), value)
    assert [cc(*pair).item() for pair in ((constant, other), (other, constant), (constant, constant))] == [
        0
    ] * 3
    assert nss(constant, [torch.zeros(3, 2)]).item() == 0
    assert nss(constant[:, :1, :1], [torch.zeros(3, 2)]).item() == 0
    assert information_gain(constant, [torch.zeros(3, 2)]).item() == pytest.approx(0)
    four, half = torch.full((1, 1, 4), value), torch.tensor([[[0.0, 0.0, 0.5, 0.5]]])
    for minmax in (True, False):
        assert sim(four, half, minmax).item() == pytest.approx(0.5)
        assert sim(half, four, minmax).item() == pytest.approx(0.5)
        assert sim(four, torch.zeros(1, 1, 4), minmax).item() == pytest.approx(1)
    assert kld(four, half).item() == pytest.approx(math.log(2))
    assert kld(four, torch.zeros(1, 1, 4)).item() == pytest.approx(0, abs=1e-12)


def test_nss_divides_by_the_standard_deviation_of_the_sample_or_of_the_population():
    score = nss(torch.tensor([[[0.0, 1.0]]]), [torch.tensor([[1.0, 0.0]])])
    assert score.item() == pytest.approx(0.5 / 0.5**0.5)
    pred, _, fixations = batch(0)
    pixels = pred[0].numel()
    expected = nss(pred, fixations) * (pixels / (pixels - 1)) ** 0.5
    torch.testing.assert_close(nss(pred, fixations, ddof=0), expected)


@pytest.mark.parametrize(("metric", "function"), [(NSS(), nss), (InformationGain(), information_gain)])
def test_an_image_without_fixations_is_left_out(metric, function):
    pred, _, fixations = batch(0, lengths=(4, 0, 5))
    metric.update(pred, fixations)
    scores = function(pred, fixations)
    assert scores.isnan().tolist() == [False, True, False]
    assert metric.compute().item() == pytest.approx(scores[[0, 2]].mean().item())
    assert metric.n_skipped == 1


def test_empty_batch():
    assert nss(torch.zeros(0, 2, 3), []).shape == information_gain(torch.zeros(0, 2, 3), []).shape == (0,)


def test_zeros_where_people_looked_are_finite_by_the_epsilon_of_float64_also_in_float32():
    pred, density = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert kld(pred, density).item() == pytest.approx(math.log(1 / 2.2204e-16), abs=1e-9)
    assert information_gain(density, [torch.zeros(1, 2)]).item() == pytest.approx(math.log2(2.2204e-16) + 1)


def test_a_map_below_zero_is_shifted_and_no_other():
    pred, density, fixations = batch(0)
    shifted = pred - pred.amin((1, 2), keepdim=True)
    for function, truth in ((kld, density), (information_gain, fixations)):
        torch.testing.assert_close(function(shifted - 0.3, truth), function(shifted, truth))
        assert not function(shifted + 0.3, truth).allclose(function(shifted, truth))


def gain(pred, points, baseline):
    """Information gain by its definition."""
    if not points:
        return math.nan
    size = (len(pred), len(pred[0]))
    p, b = (reference.distribution(reference.flat(rows)) for rows in (pred, baseline))
    at = [row * size[1] + column for row, column in (reference.pixel(point, size) for point in points)]
    return math.fsum(math.log2(reference.EPS + p[i]) - math.log2(reference.EPS + b[i]) for i in at) / len(at)


@examples
@given(batches)
def test_information_gain_agrees_with_the_definition(case):
    pred, density, fixations = case
    pairs = [(s.tolist(), xy.tolist()) for s, xy in zip(pred, fixations, strict=True)]
    for given_, baseline in ((density[0], density[0]), (None, torch.ones(pred.shape[1:]))):
        expected = [gain(*pair, baseline.tolist()) for pair in pairs]
        np.testing.assert_allclose(information_gain(pred, fixations, given_), expected, atol=1e-9)


def test_a_baseline_of_another_size_is_resized_and_stays_a_density():
    baseline = torch.rand(1, 1, 12, 18, dtype=torch.float64)
    pred, _, fixations = batch(0)
    small = torch.nn.functional.interpolate(baseline, (6, 9), mode="bilinear", antialias=True)[0, 0]
    expected = information_gain(pred, fixations, small)
    torch.testing.assert_close(information_gain(pred, fixations, baseline[0, 0]), expected)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        *((torch.full((6, 9), value), "baseline") for value in (0.0, -1.0, torch.nan)),
        (torch.ones(3, 6, 9), r"baseline has shape \(3, 6, 9\)"),
    ],
)
def test_a_baseline_that_is_no_density(bad, said):
    with pytest.raises(ValueError, match=said):
        InformationGain(bad)


@needs_pot
@pytest.mark.parametrize("seed", [0, 1])
def test_emd_agrees_with_linear_programming(seed):
    pred, density, _ = batch(seed, size=(4, 5))
    points = [(y, x) for y in range(4) for x in range(5)]
    expected = [
        mit_reference.transport(
            *(reference.distribution(reference.flat(map_.tolist())) for map_ in pair), points
        )
        for pair in zip(pred, density, strict=True)
    ]
    np.testing.assert_allclose(emd(pred, density, factor=1), expected, atol=1e-9)


@needs_pot
def test_emd_makes_maps_smaller_and_rounds_sides_up():
    pred, density = torch.zeros(1, 70, 97), torch.zeros(1, 70, 97)
    pred[0, :, :8], density[0, :, -8:] = 1, 1
    assert 2 <= emd(pred, density).item() <= 3  # columns 0 to 3
    with pytest.raises(ValueError, match="factor is 0"):
        emd(pred, density, factor=0)


@needs_pot
def test_with_matched_histograms_only_the_order_counts_and_ties_stay_ties():
    pred, density, _ = batch(0)
    stretched = pred.exp() * 5
    plain, matched = (emd(stretched, density, factor=1, match_histogram=match) for match in (False, True))
    torch.testing.assert_close(matched, emd(pred, density, factor=1, match_histogram=True))
    assert not torch.isclose(plain, matched).any()
    order = density.flatten(1).argsort(1).argsort(1).double().reshape(density.shape)
    assert emd(order, density, factor=1, match_histogram=True).abs().max() < 1e-12
    pred, density = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 3.0, 0.0]]])
    # Both tied pixels get (1 + 3) / 2, of which 1 has to move by one.
    assert emd(pred, density, factor=1, match_histogram=True).item() == pytest.approx(1 / 4)


def test_without_pot_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    for attempt in (EMD, lambda: emd(torch.ones(1, 2, 2), torch.ones(1, 2, 2))):
        with pytest.raises(ModuleNotFoundError, match=r"salvit\[emd\]"):
            attempt()


@pytest.mark.parametrize(
    ("cls", "function", "options"),
    [
        (NSS, nss, {"duplicates": False, "ddof": 0}),
        (SIM, sim, {"minmax": False}),
        (InformationGain, information_gain, {"baseline": torch.rand(6, 9)}),
        pytest.param(EMD, emd, {"factor": 2, "match_histogram": True}, marks=needs_pot),
    ],
)
def test_a_class_passes_its_options_on(cls, function, options):
    pred, density, fixations = batch(1)
    metric, truth = cls(**options), {"density": density, "fixations": fixations}[cls.truth]
    metric.update(pred + 1, truth)
    torch.testing.assert_close(metric.per_image(), function(pred + 1, truth, **options).float())
    assert not metric.per_image().allclose(function(pred + 1, truth).float())


SPOILT = torch.zeros(3, 4, 5)
SPOILT[1, 2, 3] = -torch.inf
SHAPE = r"pred has shape .*expected \[B, H, W\]"


@pytest.mark.parametrize(
    ("pred", "density", "message"),
    [
        (torch.zeros(3, 4, 5), SPOILT, "density: image 1 of the batch has NaN"),
        (
            SPOILT.nan_to_num(nan=0, neginf=torch.nan),
            torch.zeros(3, 4, 5),
            "pred: image 1 of the batch has NaN",
        ),
        (
            torch.tensor([[[-1.7e308, 1.7e308]]], dtype=torch.float64),
            torch.zeros(1, 1, 2),
            "image 0 .*overflowing",
        ),
        *((torch.zeros(shape), torch.zeros(shape), SHAPE) for shape in ((4, 5), (1, 1, 4, 5), (2, 3, 0))),
        (torch.zeros(1, 4, 5), torch.zeros(1, 8, 10), r"\(1, 4, 5\) but density \(1, 8, 10\)"),
    ],
)
def test_bad_maps_are_named(pred, density, message):
    with pytest.raises(ValueError, match=message):
        cc(pred, density)


def test_a_range_must_fit_into_float64_not_into_the_dtype_of_the_map():
    maps = torch.tensor([[[-60000.0, 60000.0]]], dtype=torch.float16, requires_grad=True)
    score = cc(maps, maps)
    assert score.item() == pytest.approx(1)
    assert not score.requires_grad


@pytest.mark.parametrize("scale", [5e307, 1e-300, 1.0])
def test_scaling_of_extreme_maps(scale):
    maps = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64) * scale
    torch.testing.assert_close(sum_normalize(maps), torch.tensor([[0.0, 0.25, 0.75]], dtype=torch.float64))
    torch.testing.assert_close(minmax_normalize(maps), torch.tensor([[0.0, 1 / 3, 1.0]], dtype=torch.float64))
