import pytest
import torch

from salvit.metrics.functional.maps import check_map_pair, check_maps, minmax_normalize, sum_normalize


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


def test_an_empty_batch_is_fine():
    assert check_maps(torch.zeros(0, 4, 5), "pred").shape == (0, 4, 5)


def test_a_pair_of_different_sizes():
    with pytest.raises(ValueError, match=r"pred has shape \(1, 4, 5\) but density \(1, 8, 10\)"):
        check_map_pair(torch.zeros(1, 4, 5), torch.zeros(1, 8, 10))


@pytest.mark.parametrize("position", [0, 1])
def test_a_pair_checks_both(position):
    pair = [torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)]
    pair[position][0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=["pred", "density"][position]):
        check_map_pair(*pair)


def test_results_carry_no_gradient():
    pred, _ = check_map_pair(torch.rand(1, 2, 2, requires_grad=True), torch.rand(1, 2, 2))
    assert not pred.requires_grad


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1e300, 5e-324])
def test_constant_maps(value):
    maps = torch.full((1, 307_200), value, dtype=torch.float64)
    assert (minmax_normalize(maps) == 0).all()
    assert sum_normalize(maps).sub(1 / 307_200).abs().max() < 1e-18


@pytest.mark.parametrize("scale", [5e307, 1e-300, 1.0])
def test_extreme_scales(scale):
    maps = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64) * scale
    torch.testing.assert_close(sum_normalize(maps), torch.tensor([[0.0, 0.25, 0.75]], dtype=torch.float64))
    torch.testing.assert_close(minmax_normalize(maps), torch.tensor([[0.0, 1 / 3, 1.0]], dtype=torch.float64))


def test_only_maps_below_zero_are_shifted():
    maps = torch.tensor([[1.0, 3.0], [-1.0, 3.0]])
    assert sum_normalize(maps).tolist() == [[0.25, 0.75], [0.0, 1.0]]
