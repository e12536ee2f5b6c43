import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salvit.metrics import EMD, NSS, SIM, InformationGain
from salvit.metrics.functional import cc, emd, information_gain, kld, nss, sim
from salvit.metrics.functional.maps import check_map_pair, check_maps, minmax_normalize, sum_normalize
from tests.metrics import mit_reference, reference
from tests.metrics.cases import batch, batches, examples

needs_pot = pytest.mark.skipif(find_spec("ot") is None, reason="needs POT, the extra emd")


@examples
@given(batches)
def test_cc_agrees_with_the_reference(case):
    pred, density, _ = case
    expected = [reference.cc(s.tolist(), g.tolist()) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(cc(pred, density), expected, atol=1e-7)


@examples
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_cc_ignores_scale_and_offset_but_not_the_sign(seed, scale, offset):
    pred, density, _ = batch(seed)
    torch.testing.assert_close(cc(scale * pred + offset, density), cc(pred, density), atol=1e-7, rtol=0)
    torch.testing.assert_close(cc(-scale * pred + offset, density), -cc(pred, density), atol=1e-7, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_cc_constant_map_scores_zero(value):
    other, constant = torch.rand(1, 48, 64), torch.full((1, 48, 64), value)
    assert cc(constant, other).item() == 0
    assert cc(other, constant).item() == 0
    assert cc(constant, constant).item() == 0


@pytest.mark.parametrize("duplicates", [True, False])
@examples
@given(batches)
def test_nss_agrees_with_the_reference(duplicates, case):
    pred, _, fixations = case
    expected = [
        reference.nss(s.tolist(), xy.tolist(), duplicates) for s, xy in zip(pred, fixations, strict=True)
    ]
    np.testing.assert_allclose(nss(pred, fixations, duplicates), expected, atol=1e-9)


@examples
@given(batches)
def test_nss_ignores_scale_and_offset(case):
    pred, _, fixations = case
    np.testing.assert_allclose(nss(8 * pred.double() - 3, fixations), nss(pred, fixations), atol=1e-9)


def test_sample_standard_deviation():
    score = nss(torch.tensor([[[0.0, 1.0]]]), [torch.tensor([[1.0, 0.0]])])
    assert score.item() == pytest.approx(0.5 / 0.5**0.5)


def test_duplicates_weigh_the_mean_or_not():
    pred = torch.tensor([[[0.0, 1.0, 2.0]]])
    fixations = [torch.tensor([[2.0, 0.0], [2.4, 0.2], [1.0, 0.0]])]
    assert nss(pred, fixations).item() == pytest.approx(2 / 3)
    assert nss(pred, fixations, duplicates=False).item() == pytest.approx(1 / 2)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 48, 64)])
def test_nss_constant_map_scores_zero(value, shape):
    assert nss(torch.full(shape, value), [torch.zeros(3, 2)]).item() == 0


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales(scale):
    pred, _, fixations = batch(0)
    torch.testing.assert_close(nss(pred * scale, fixations), nss(pred, fixations))


def test_image_without_fixations_is_left_out():
    pred, _, fixations = batch(0, lengths=(4, 0, 5))
    metric = NSS()
    metric.update(pred, fixations)
    scores = nss(pred, fixations)
    assert scores.isnan().tolist() == [False, True, False]
    assert metric.compute().item() == pytest.approx(scores[[0, 2]].mean().item())
    assert metric.n_skipped == 1


def test_class_passes_its_option_on():
    pred, _, fixations = batch(1)
    metric = NSS(duplicates=False)
    metric.update(pred, fixations)
    torch.testing.assert_close(metric.per_image(), nss(pred, fixations, duplicates=False).float())
    assert not metric.per_image().allclose(nss(pred, fixations).float())


def test_bad_input_is_named():
    pred, _, fixations = batch(0)
    with pytest.raises(ValueError, match="of image 2 lies outside"):
        nss(pred, [*fixations[:2], torch.tensor([[9.0, 0.0]])])
    with pytest.raises(ValueError, match="2 entries for 3 images"):
        nss(pred, fixations[:2])
    pred[1, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="pred: image 1"):
        nss(pred, fixations)


def test_empty_batch():
    assert nss(torch.zeros(0, 2, 3), []).shape == (0,)


def test_the_populations_standard_deviation_is_over_all_pixels():
    pred, _, fixations = batch(0)
    pixels = pred[0].numel()
    expected = nss(pred, fixations) * (pixels / (pixels - 1)) ** 0.5
    torch.testing.assert_close(nss(pred, fixations, ddof=0), expected)
    metric = NSS(ddof=0)
    metric.update(pred, fixations)
    torch.testing.assert_close(metric.per_image(), expected.float())


@pytest.mark.parametrize("minmax", [True, False])
@examples
@given(batches)
def test_sim_agrees_with_the_reference(minmax, case):
    pred, density, _ = case
    pred = pred - 0.2
    expected = [reference.sim(s.tolist(), g.tolist(), minmax) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(sim(pred, density, minmax), expected, atol=1e-9)


@pytest.mark.parametrize("minmax", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, 5.0, -2.0])
def test_sim_constant_map_is_uniform(minmax, value):
    density = torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])
    assert sim(torch.full((1, 1, 4), value), density, minmax).item() == pytest.approx(0.25)
    assert sim(density, torch.full((1, 1, 4), value), minmax).item() == pytest.approx(0.25)
    assert sim(torch.full((1, 1, 4), value), torch.zeros(1, 1, 4), minmax).item() == pytest.approx(1)


def test_sim_class_passes_its_option_on():
    pred, density, _ = batch(0)
    metric = SIM(minmax=False)
    metric.update(pred + 1, density)
    torch.testing.assert_close(metric.per_image(), sim(pred + 1, density, minmax=False).float())
    assert not metric.per_image().allclose(sim(pred + 1, density).float())


@examples
@given(batches)
def test_kld_agrees_with_the_reference(case):
    pred, density, _ = case
    expected = [reference.kld(s.tolist(), g.tolist()) for s, g in zip(pred, density, strict=True)]
    np.testing.assert_allclose(kld(pred, density), expected, atol=1e-9)


def test_epsilon_is_float64s_also_for_float32_maps():
    pred, density = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert kld(pred, density).item() == pytest.approx(math.log(1 / 2.2204e-16), abs=1e-9)


def test_map_below_zero_is_shifted():
    pred, density, _ = batch(0)
    shifted = pred - pred.amin((1, 2), keepdim=True)
    torch.testing.assert_close(kld(shifted - 0.3, density), kld(shifted, density))
    assert not kld(shifted + 0.3, density).allclose(kld(shifted, density))


@pytest.mark.parametrize("value", [0.0, 0.1, -2.0])
def test_kld_constant_map_is_uniform(value):
    density = torch.tensor([[[0.0, 0.0, 0.5, 0.5]]])
    constant = torch.full((1, 1, 4), value)
    assert kld(constant, density).item() == pytest.approx(math.log(2))
    assert kld(constant, torch.zeros(1, 1, 4)).item() == pytest.approx(0, abs=1e-12)


def expected_score(pred, points, baseline):
    if not points:
        return math.nan
    size = (len(pred), len(pred[0]))
    p, b = (reference.distribution(reference.flat(rows)) for rows in (pred, baseline))
    at = [row * size[1] + column for row, column in (reference.pixel(point, size) for point in points)]
    gains = [math.log2(reference.EPS + p[i]) - math.log2(reference.EPS + b[i]) for i in at]
    return math.fsum(gains) / len(gains)


@examples
@given(batches)
def test_information_gain_agrees_with_the_definition(case):
    pred, density, fixations = case
    expected = [
        expected_score(s.tolist(), xy.tolist(), density[0].tolist())
        for s, xy in zip(pred, fixations, strict=True)
    ]
    np.testing.assert_allclose(information_gain(pred, fixations, density[0]), expected, atol=1e-9)


@examples
@given(batches)
def test_without_baseline_it_is_the_uniform_one(case):
    pred, _, fixations = case
    expected = information_gain(pred, fixations, torch.ones(pred.shape[1:]))
    torch.testing.assert_close(information_gain(pred, fixations), expected, equal_nan=True)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_map_that_says_nothing_is_uniform(value):
    _, _, fixations = batch(0)
    torch.testing.assert_close(
        information_gain(torch.full((3, 6, 9), value), fixations), torch.zeros(3, dtype=torch.float64)
    )


def test_a_fixation_where_the_prediction_is_zero_is_finite():
    score = information_gain(torch.tensor([[[0.0, 1.0]]]), [torch.zeros(1, 2)]).item()
    assert score == pytest.approx(math.log2(2.2204e-16) + 1)


def test_a_map_below_zero_is_shifted():
    pred, _, fixations = batch(0)
    torch.testing.assert_close(
        information_gain(pred - 5, fixations), information_gain(pred - pred.amin((1, 2), True), fixations)
    )


def test_a_baseline_of_another_size_is_resized_and_stays_a_density():
    baseline = torch.rand(12, 18, dtype=torch.float64)
    pred, _, fixations = batch(0)
    small = torch.nn.functional.interpolate(baseline[None, None], (6, 9), mode="bilinear", antialias=True)[
        0, 0
    ]
    torch.testing.assert_close(
        information_gain(pred, fixations, baseline), information_gain(pred, fixations, small)
    )


@pytest.mark.parametrize("bad", [torch.zeros(6, 9), torch.full((6, 9), -1.0), torch.full((6, 9), torch.nan)])
def test_a_baseline_that_is_no_density(bad):
    with pytest.raises(ValueError, match="baseline"):
        InformationGain(bad)


def test_a_baseline_per_image_is_refused():
    with pytest.raises(ValueError, match=r"baseline has shape \(3, 6, 9\)"):
        information_gain(*(batch(0)[i] for i in (0, 2)), torch.ones(3, 6, 9))


def test_images_without_fixations_are_counted():
    pred, _, fixations = batch(0, lengths=(0, 4, 5))
    metric = InformationGain()
    metric.update(pred, fixations)
    assert metric.per_image().isnan().tolist() == [True, False, False]
    assert metric.n_skipped == 1
    assert metric.compute().isfinite()


@needs_pot
@pytest.mark.parametrize("seed", [0, 1])
def test_emd_agrees_with_linear_programming(seed):
    pred, density, _ = batch(seed, size=(4, 5))
    points = [(y, x) for y in range(4) for x in range(5)]
    expected = [
        mit_reference.transport(
            reference.distribution(reference.flat(s.tolist())),
            reference.distribution(reference.flat(g.tolist())),
            points,
        )
        for s, g in zip(pred, density, strict=True)
    ]
    np.testing.assert_allclose(emd(pred, density, factor=1), expected, atol=1e-9)


@needs_pot
def test_maps_are_made_smaller_and_sides_rounded_up():
    pred, density = torch.zeros(1, 70, 97), torch.zeros(1, 70, 97)
    pred[0, :, :8], density[0, :, -8:] = 1, 1
    assert 2 <= emd(pred, density).item() <= 3  # columns 0 to 3


@needs_pot
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_map_without_mass_is_uniform(value):
    _, density, _ = batch(0)
    found = emd(torch.full_like(density, value), density, factor=1)
    torch.testing.assert_close(found, emd(torch.ones_like(density), density, factor=1))


@needs_pot
def test_with_matched_histograms_only_the_order_counts():
    pred, density, _ = batch(0)
    plain, matched = (
        emd(pred.exp() * 5, density, factor=1, match_histogram=match) for match in (False, True)
    )
    torch.testing.assert_close(matched, emd(pred, density, factor=1, match_histogram=True))
    assert not torch.isclose(plain, matched).any()
    order = density.flatten(1).argsort(1).argsort(1).double().reshape(density.shape)
    assert emd(order, density, factor=1, match_histogram=True).abs().max() < 1e-12


@needs_pot
def test_matching_keeps_ties():
    pred, density = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 3.0, 0.0]]])
    # Both tied pixels get (1 + 3) / 2, of which 1 has to move by one.
    assert emd(pred, density, factor=1, match_histogram=True).item() == pytest.approx(1 / 4)


@needs_pot
def test_the_class_keeps_its_options():
    pred, density, _ = batch(0)
    metric = EMD(factor=2, match_histogram=True)
    metric.update(pred, density)
    expected = emd(pred, density, factor=2, match_histogram=True)
    torch.testing.assert_close(metric.per_image(), expected.float())
    assert math.isclose(metric.compute().item(), expected.mean().item(), abs_tol=1e-6)


@needs_pot
def test_a_factor_that_makes_no_map():
    with pytest.raises(ValueError, match="factor is 0"):
        emd(torch.ones(1, 2, 2), torch.ones(1, 2, 2), factor=0)


def test_without_pot_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    for attempt in (EMD, lambda: emd(torch.ones(1, 2, 2), torch.ones(1, 2, 2))):
        with pytest.raises(ModuleNotFoundError, match=r"salvit\[emd\]"):
            attempt()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_map_that_is_not_finite_is_named(value):
    maps = torch.zeros(3, 4, 5)
    maps[1, 2, 3] = value
    with pytest.raises(ValueError, match="density: image 1 of the batch has NaN"):
        check_maps(maps, "density")


def test_a_range_beyond_float64():
    with pytest.raises(ValueError, match=r"image 0 .*overflowing"):
        check_maps(torch.tensor([[[-1.7e308, 1.7e308]]], dtype=torch.float64), "pred")


def test_a_wide_range_in_half_precision_is_fine():
    maps = torch.tensor([[[-60000.0, 60000.0]]], dtype=torch.float16)
    assert check_maps(maps, "pred").equal(maps)


@pytest.mark.parametrize("shape", [(4, 5), (1, 1, 4, 5), (1, 0, 5), (2, 3, 0)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"pred has shape .*expected \[B, H, W\]"):
        check_maps(torch.zeros(shape), "pred")


def test_a_pair_of_different_sizes():
    with pytest.raises(ValueError, match=r"pred has shape \(1, 4, 5\) but density \(1, 8, 10\)"):
        check_map_pair(torch.zeros(1, 4, 5), torch.zeros(1, 8, 10))


def test_results_carry_no_gradient():
    pred, _ = check_map_pair(torch.rand(1, 2, 2, requires_grad=True), torch.rand(1, 2, 2))
    assert not pred.requires_grad


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1e300, 5e-324])
def test_constant_maps(value):
    maps = torch.full((1, 307_200), value, dtype=torch.float64)
    assert (minmax_normalize(maps) == 0).all()
    assert sum_normalize(maps).sub(1 / 307_200).abs().max() < 1e-18


@pytest.mark.parametrize("scale", [5e307, 1e-300, 1.0])
def test_maps_extreme_scales(scale):
    maps = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64) * scale
    torch.testing.assert_close(sum_normalize(maps), torch.tensor([[0.0, 0.25, 0.75]], dtype=torch.float64))
    torch.testing.assert_close(minmax_normalize(maps), torch.tensor([[0.0, 1 / 3, 1.0]], dtype=torch.float64))
