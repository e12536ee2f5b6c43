import pytest
import torch

from salvit.extractors.lrp.rules import (
    add_conserving,
    bilinear,
    divide,
    linear_joint,
    linear_separate,
)


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_division_is_finite_everywhere():
    denominator = torch.tensor([0.0, -1e-9, 1e-30, -2.0], dtype=torch.float64)
    quotient = divide(torch.ones(4, dtype=torch.float64), denominator)
    torch.testing.assert_close(
        quotient, torch.tensor([0, 0, 1e9, -0.5], dtype=torch.float64), rtol=1e-8, atol=0
    )


def test_three_products_equal_the_eight_of_the_rule(draw):
    x, weight, relevance = draw(2, 4, 7), draw(5, 7), draw(2, 4, 5)
    xp, xn, wp, wn = x.clamp(min=0), x.clamp(max=0), weight.clamp(min=0), weight.clamp(max=0)
    share = relevance / (xp @ wp.T + xn @ wn.T + 1e-9)
    expected = xp * (share @ wp) + xn * (share @ wn)
    torch.testing.assert_close(
        linear_joint(x, weight, None, x @ weight.T, relevance), expected, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize(("rule", "times"), [(linear_joint, 1), (linear_separate, 2)])
def test_linear_rules_hand_on_all_relevance(draw, rule, times):
    x, weight, relevance = draw(3, 4, 40), draw(5, 40), draw(3, 4, 5)
    total = rule(x, weight, None, x @ weight.T, relevance).sum(-1)
    torch.testing.assert_close(total, times * relevance.sum(-1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("active", [1, 2, 3, 64])
def test_outputs_that_no_input_speaks_for_in_float32(draw, active):
    """With few active inputs whole outputs are opposed by all of them; what is left of their sums is rounding."""
    x, weight, relevance = draw(50, 64), draw(96, 64), draw(50, 96)
    x[:, active:] = 0
    expected = linear_joint(x, weight, None, x @ weight.T, relevance)
    x, weight, relevance = x.float(), weight.float(), relevance.float()
    found = linear_joint(x, weight, None, x @ weight.T, relevance).double()
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("rule", [linear_joint, linear_separate])
def test_linear_rules_give_nothing_to_nothing(draw, rule):
    x, weight = torch.zeros(1, 2, 3, dtype=torch.float64), draw(4, 3)
    assert torch.equal(rule(x, weight, None, x @ weight.T, draw(1, 2, 4)), x)


def test_addition_conserves_each_images_relevance(draw):
    left, right, relevance = draw(3, 4, 5), draw(3, 4, 5), draw(3, 4, 5).abs()
    shares = torch.stack(add_conserving(left, right, left + right, relevance)).sum((0, 2, 3))
    torch.testing.assert_close(shares, relevance.sum((1, 2)), rtol=1e-6, atol=0)
    alone = add_conserving(left[1:2], right[1:2], (left + right)[1:2], relevance[1:2])
    together = add_conserving(left, right, left + right, relevance)
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(a, b[1:2], rtol=1e-12, atol=0)


def test_a_product_gives_each_factor_half(draw):
    left, right, relevance = draw(2, 3, 4), draw(2, 5, 4), draw(2, 3, 5)
    first, second = bilinear(left, right, divide(relevance, left @ right.mT))
    for share in (first, second):
        torch.testing.assert_close(share.sum((1, 2)), relevance.sum((1, 2)) / 2, rtol=1e-5, atol=1e-7)
